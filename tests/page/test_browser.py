"""The page in a real browser, headless Chromium driven by Selenium; skipped where there is none."""

import json
import os
import shutil
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bpnet import SGD, film, fit
from bpnet.cli.main import main
from bpnet.page import own
from bpnet.page.state import preset
from bpnet.worked import published

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER, AXE = shutil.which("chromedriver"), os.environ.get("BPNET_AXE")
PYODIDE = os.environ.get("BPNET_PYODIDE")
if not (BROWSER and DRIVER):
    pytest.skip("there is no chromium with its chromedriver here", allow_module_level=True)
webdriver = pytest.importorskip("selenium.webdriver", reason="the extra 'browser' brings Selenium")
from selenium.webdriver.common.keys import Keys  # noqa: E402


class Browser:
    """A page in the browser, looked at as a user does."""

    def __init__(self, folder):
        options = webdriver.ChromeOptions()
        options.binary_location, self.folder = BROWSER, folder
        for option in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
            options.add_argument(f"--{option}")
        options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.do = self.driver.execute_script

    def size(self, width):
        metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, url, seconds=15):
        self.driver.get("about:blank")
        self.driver.get(url)
        self.until("document.documentElement.dataset.ready", seconds)

    def until(self, condition, seconds=15):
        """Wait for a condition in JavaScript, in which $ finds an element and $$ all."""
        end, find = time.monotonic() + seconds, "const $ = (s) => document.querySelector(s), $$ = "
        while not self.do(f"{find}(s) => document.querySelectorAll(s); return {condition}"):
            assert time.monotonic() < end, f"waited in vain for {condition}"
            time.sleep(0.01)

    def find(self, selector):
        self.until(f"$$(`{selector}`).length === 1")
        return self.driver.find_element("css selector", selector)

    def text(self, selector):
        return self.find(selector).text

    def click(self, selector):
        self.do("arguments[0].scrollIntoView({block: 'center'})", self.find(selector))
        self.find(selector).click()

    def point(self, name):
        """Point at a neuron or a weight in the drawing."""
        self.find(f"#diagram [data-name='{name}']")  # which may be drawn anew at any time
        self.do("document.querySelector(`#diagram [data-name='${arguments[0]}']`)"
                ".dispatchEvent(new MouseEvent('click', {bubbles: true}))", name)  # fmt: skip
        self.find(f"#entries [data-of='{name}']")

    def write(self, selector, value):
        """Write into a field, or choose from it, as by hand."""
        change = "dispatchEvent(new Event('change', {bubbles: true}))"
        self.do(f"const f = arguments[0]; f.value = arguments[1]; f.{change}",
                self.find(selector), value)  # fmt: skip

    def run(self, count):
        self.click(f"[data-run='{count}']")
        self.until("$('#stop').disabled")

    def shows(self, text, where="#readout"):
        self.until(f"$(`{where}`)?.textContent.includes({json.dumps(text)})")

    def wrong(self):
        """Return what the console says, and the hosts that were asked, since the last call."""
        said = [entry for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages
                if m["method"] == "Network.requestWillBeSent"]  # fmt: skip
        return said, {url.split("/")[2] for url in urls if url.startswith(("http", "ws"))}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(browser, server):
    """The page, newly opened; when the test is over nothing has gone wrong in the browser."""
    browser.size(1200)
    browser.wrong()
    browser.open(server.url)
    yield browser
    assert browser.wrong() == ([], {f"127.0.0.1:{server.server_port}"})


def test_the_published_digits(page):
    for phase in ("forward", "loss", "backward"):
        page.click(f"[data-go={phase}]")
        page.until(f"$('[data-go={phase}]').ariaPressed === 'true'")
    page.shows("E = 0.298371109")
    shown = page.text("#diagram").split("\n")
    assert {"0.751", "0.773", "δ 0.1385", "δ −0.0381", "0.55", "y 0.99"} <= set(shown)
    page.point("W[3][1, 0]")
    entry = page.text("#entries [data-of='dW[3][1, 0]']")
    assert "−0.0226025405" in entry.split("finite difference")[1], "of the difference"
    assert "mlp.py:" in entry
    page.click("[data-go=update]")
    page.shows("E = 0.280471447")


def test_ten_steps_are_those_of_fit_and_back_and_reset(page):
    net = published.example()
    fit(net, published.X, published.Y, epochs=10, optimizer=SGD(0.5))
    page.run(10)
    page.shows(f"E = {net.loss(net.forward(published.X), published.Y):.9g}")
    page.point("W[2][0, 1]")
    assert float(page.find("#edit input").get_attribute("value")) == net.W[2][0, 1]
    page.click("#back")
    page.shows("Press Forward")
    page.run(100)
    page.click("#reset")
    page.until("$('#edit input').value === '0.2'")


def test_a_long_training_is_stopped_and_a_played_one_paused(page):
    page.click("[data-preset=moons]")
    page.write("[data-field=size]", "8")
    page.until("$$('tr.out').length === 4")
    page.click("[data-run='10000']")
    page.until("!$('#progress').hidden")
    page.click("#stop")
    page.shows("Stopped at step", "#status")
    page.click("[data-preset=article]")
    page.until("$$('#samples tr').length === 1")
    page.click("#play")
    page.shows("Step 3")
    page.click("#play")
    page.shows("Play", "#play")


@pytest.mark.parametrize(
    ("field", "bad", "words", "good"),
    [
        ("sizes", "2-99", "layers", "2-3-2"), ("seed", "x", "whole number", "3"),
        ("loss", "cross_entropy", "softmax", "huber"), ("rate", "-1", "learning_rate", "0.25"),
        ("optimizer", "", "optimizer", "Adam"), ("size", "7", "1 to 1", "1"),
        ("activation.2", "softmax", "softmax", "tanh"), ("x.0.1", "?", "number", "0.3"),
        ("y.0.0", "", "number", "0.2"), ("data", "1 2\n3", "a sample a line", "0, 0, 1, 1"),
        ("W.2.0.0", "nonsense", "number", "0.75"), ("b.2.0", "1e9", "number", "-1"),
    ],
)  # fmt: skip
def test_a_field_takes_good_values_and_says_what_is_wrong_with_bad_ones(page, field, bad, words, good):
    if field[0] in "Wb":
        page.point("W[2][0, 0]" if field[0] == "W" else "a[2][0]")
    before, selector = page.text("#diagram"), f"[data-field='{field}']"
    page.write(selector, bad)
    page.shows(words, f"[id='error-{field}']")
    assert (page.text("#diagram"), page.find(selector).get_attribute("aria-invalid")) == (
        before, "true")  # fmt: skip
    page.write(selector, good)
    page.until(f"!$(`[id='error-{field}']`)?.textContent")
    assert page.find(selector).get_attribute("value").endswith(good)


def test_one_walks_from_a_weight_to_the_input(page):
    page.point("W[2][0, 0]")
    for name in ("delta[2][0]", "da[2][0]", "delta[3][1]", "da[3][1]", "a[3][1]", "z[3][1]"):
        page.do("document.querySelector(`[data-from='${arguments[0]}']`).click()", name)
        page.until(f"$('#entries .asked')?.dataset.of === '{name}'")
    page.click("#path li:nth-child(2) button")
    page.until("$$('#path li').length === 2")
    page.click("#solution [data-name=backward]")
    page.until("$$('.entry').length > 15")


def test_the_riddle(page):
    said = {}
    for button in page.driver.find_elements("css selector", "[data-riddle]"):
        button.click()
        said[button.text] = page.text("#answer").split(":")[0]
    assert said == {"0.280471447": "right", "0.291027774": "right", "0.291027924": "WRONG",
                    "0.285750887": "WRONG"}  # fmt: skip


def test_your_backward_wrong_right_and_endless(page, monkeypatch):
    code = page.find("#code").get_attribute("value")
    right = code.replace("delta3 @ W[1]\n", "delta3 @ W[1] * a2 * (1 - a2)\n")
    endless = code + "\nwhile True: pass"
    for given, words in ((code, "f' is missing in layer 2"), (right, "backward is right"),
                         (endless, "endless loop")):  # fmt: skip
        monkeypatch.setattr(own, "LIMIT", 1.0 if given is endless else 20.0)
        page.write("#code", given)
        page.click("#judge")
        page.shows(words, "#verdict")
        page.until("!$('#judge').disabled", 25)
    page.run(1)
    page.shows("Step 1.")


def test_what_is_taken_away(page, server):
    page.click("[data-preset=xor]")
    page.until("$$('#samples tr').length === 4")
    page.write("[data-field=rate]", "0.75")
    page.run(100)
    readout = page.text("#readout")
    page.click("[data-take=python]")
    page.until("$('#text').value.includes('net.loss')")
    for what, name in (("json", "net.json"), ("film", "film.html")):
        page.click(f"[data-take={what}]")
        page.shows(name, "#status")
        end = time.monotonic() + 10
        while not (page.folder / name).exists():
            assert time.monotonic() < end
    page.click("[data-take=link]")
    page.until("$('#text').value.startsWith('http')")
    page.open(page.find("#text").get_attribute("value"))
    assert page.text("#readout") == readout
    assert page.find("[data-field=rate]").get_attribute("value") == "0.75"
    page.open(server.url + "#damaged")
    page.shows("Press Forward")


def test_the_film_needs_no_server(browser, tmp_path):
    given, path = preset("xor"), tmp_path / "film.html"
    data = given["x"], given["y"]
    options = {"batch_size": None, "optimizer": SGD(0.5)}
    losses = fit(given["net"].copy(), *data, epochs=51, **options).loss
    film(given["net"], *data, steps=50, path=path)
    browser.wrong()
    browser.driver.get(path.as_uri())
    assert browser.text("#told") == f"Step 0: E = {losses[0]:#.6g}"
    browser.find("#frame").send_keys(Keys.END)
    assert browser.text("#told") == f"Step 50: E = {losses[50]:#.6g}"
    browser.click("#play")
    browser.shows("Step 3:", "#told")
    assert browser.wrong() == ([], set())


@pytest.mark.skipif(not PYODIDE, reason="Pyodide is given by BPNET_PYODIDE, its folder with NumPy")
def test_the_hosted_copy_computes_the_same(browser, tmp_path):
    assert main(["page", "--export", str(tmp_path), "--pyodide", "pyodide/"]) == 0
    (tmp_path / "pyodide").symlink_to(PYODIDE)
    net = published.example()
    fit(net, published.X, published.Y, epochs=10, optimizer=SGD(0.5))
    files = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        browser.wrong()
        browser.open(f"http://127.0.0.1:{host.server_port}/", 90)
        browser.run(10)
        browser.shows(f"E = {net.loss(net.forward(published.X), published.Y):.9g}")
        code = browser.find("#code").get_attribute("value")
        for given, words in ((code, "f' is missing"), (f"{code}while True: pass", "endless loop")):
            browser.write("#code", given)
            browser.click("#judge")
            browser.until(f'$("#verdict").textContent.includes("{words}")', 90)
            browser.until("!$('#judge').disabled")
        browser.run(1)
        browser.shows("Step 11.")
        assert browser.wrong() == ([], {f"127.0.0.1:{host.server_port}"})
        host.shutdown()


def test_in_chinese(page):
    page.write("#language", "zh")
    page.until("document.documentElement.lang === 'zh' && $('[data-riddle]')")
    page.click("[data-riddle=updated]")
    page.shows("正确", "#answer")
    page.point("W[3][1, 0]")
    page.shows("有限差分", "#entries")
    names = page.do("return [...document.querySelectorAll('[data-t], [data-a]')].map((n) =>"
                    "n.dataset.t ? n.textContent : n.ariaLabel)")  # fmt: skip
    assert [name for name in names if not any("一" <= c <= "鿿" for c in name)] == []


def test_by_keyboard_alone(page):
    def press(*keys):
        for key in keys:
            page.driver.switch_to.active_element.send_keys(key)

    def tab_to(name, value):
        for _ in range(80):
            press(Keys.TAB)
            if page.do(f"return document.activeElement.dataset.{name}") == value:
                return
        raise AssertionError(f"no way to {value}")

    focus = "return document.activeElement.dataset.name"
    tab_to("go", "forward")
    press(Keys.ENTER)
    page.until("$('[data-go=forward]').ariaPressed === 'true'")
    tab_to("name", "a[1][0]")
    press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.do(focus) == "a[2][1]"
    assert "neuron 2, a = 0.5969" in page.do("return document.activeElement.ariaLabel")
    page.find("#entries [data-of='z[2][1]']")
    press("w", "w")
    assert page.do(focus) == "W[2][1, 1]"
    press(Keys.ENTER)
    page.find("#entries [data-of='dW[2][1, 1]']")
    tab_to("from", "delta[2][1]")
    press(Keys.ENTER)
    page.until("$('#entries .asked')?.dataset.of === 'delta[2][1]'")
    tab_to("field", "rate")
    press(Keys.CONTROL + "a" + Keys.NULL, "0.25", Keys.TAB)
    tab_to("riddle", "updated")
    press(Keys.ARROW_RIGHT)
    page.shows("the biases are held", "#answer")


@pytest.mark.parametrize("name", ["article", "moons"])
@pytest.mark.parametrize("width", [360, 1024, 3840])
def test_no_width_scrolls_sideways(page, width, name):
    page.size(width)
    page.click(f"[data-preset={name}]")
    page.point("a[2][0]" if name == "article" else "a[2][0, 0]")
    assert page.do("return document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not AXE, reason="axe-core is given by BPNET_AXE, the path of axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_rules_of_accessibility(page, scheme):
    scheme = [{"name": "prefers-color-scheme", "value": scheme}]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    page.run(10)
    page.point("W[3][1, 0]")
    page.click("[data-riddle=early]")
    page.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": Path(AXE).read_text()})
    found = page.driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run().then((r) => done(r.violations.map("
        "(v) => [v.id, v.nodes.map((n) => n.html + n.failureSummary)])))"
    )
    assert found == []
