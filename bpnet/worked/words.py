"""The words between the formulas, in each language; what stands in braces each notation writes."""

from __future__ import annotations

EN = {
    "heading": "A {sizes} net: {activations}; {loss}; learning rate {eta} = {rate}",
    "done": "After {done} steps of gradient descent",
    "of": "{target} and all that it came from",
    "legend": "{symbol} is {code} in the code, which counts from 0{sample}; {x} is x; "
    "{new} is {old} after the step.",
    "legend sample": ": sample 2, neuron 1; m is the number of samples",
    "legend ascii": "Indices count from 0, as in the code{sample}; {x} is x; "
    "{new} is {old} after the step.",
    "given": "What is given",
    "forward": "Forward: layer {l}",
    "share": "The loss of each output",
    "loss": "The loss",
    "backward": "Backward: layer {l}",
    "gradient": "The partial derivatives of layer {l}",
    "update": "The step in layer {l}: {theta}",
    "after": "After the step: layer {l}",
    "share after": "After the step: the loss of each output",
    "loss after": "The loss after the step",
    "sample": "{title}, sample {sample}",
    "samples": "Samples not written out: {count}; all is there by name.",
    "left out": "Not written out: {count}; all is there by name.",
    "more": "{count} more",
    "as": "as",
    "where": "where",
    "difference": "finite difference",
    "from z": "Taken from {z}, since {a} has rounded to 0 or 1.",
    "joined": "Loss and output belong together: {da} = {slope} times {df} = {prime} is {delta}.",
    "matrix": "{f} mixes the neurons of its layer, so {df} is no number for each but a matrix.",
    "joined softmax": "Times {da} = {slope}, where the targets sum to 1, it is {delta}.",
    "riddle": "The loss after one step, as it circulates for this example",
    "right": "right",
    "wrong": "WRONG",
    "updated": "every weight and bias moves: gradient descent",
    "held": "the biases are held, as on the published page",
    "early": "{W} had moved before {delta} was taken",
    "shared": "the biases of a layer move as one, by the sum of its {errors}",
    "between": "Steps not written out: {count}; the loss after {done} steps is {loss}.",
}

ZH = {
    "heading": "{sizes} 网络：{activations}；{loss}；学习率 {eta} = {rate}",
    "done": "已做 {done} 步梯度下降",
    "of": "{target} 及其全部来源",
    "legend": "{symbol} 即代码中的 {code}，代码从 0 数起{sample}；{x} 即 x；"
    "{new} 是更新之后的 {old}。",
    "legend sample": "（样本 2，神经元 1；m 为样本数）",
    "legend ascii": "下标从 0 数起，与代码一致{sample}；{x} 即 x；{new} 是更新之后的 {old}。",
    "given": "已知",
    "forward": "前向传播：第 {l} 层",
    "share": "每个输出的损失",
    "loss": "损失",
    "backward": "反向传播：第 {l} 层",
    "gradient": "第 {l} 层的偏导数",
    "update": "更新第 {l} 层：{theta}",
    "after": "更新之后：第 {l} 层",
    "share after": "更新之后：每个输出的损失",
    "loss after": "更新之后的损失",
    "sample": "{title}，样本 {sample}",
    "samples": "未写出的样本：{count} 个，均可按名称查询。",
    "left out": "未写出的量：{count} 个，均可按名称查询。",
    "more": "另 {count} 项",
    "as": "因为",
    "where": "其中",
    "difference": "有限差分",
    "from z": "由 {z} 算出，因为 {a} 已舍入为 0 或 1。",
    "joined": "损失与输出相配：{da} = {slope} 乘以 {df} = {prime} 即 {delta}。",
    "matrix": "{f} 把本层各神经元混在一起，所以 {df} 不是各神经元的一个数，而是矩阵。",
    "joined softmax": "乘以 {da} = {slope}，因目标之和为 1，即得 {delta}。",
    "riddle": "此例流传的一步之后的损失",
    "right": "正确",
    "wrong": "错误",
    "updated": "更新所有权重和偏置：梯度下降",
    "held": "偏置固定不变，即原网页的做法",
    "early": "算 {delta} 之前已更新了 {W}",
    "shared": "每层的偏置当作一个，按 {errors} 之和更新",
    "between": "未写出的步数：{count}；{done} 步之后的损失为 {loss}。",
}

LANGUAGES = {"en": EN, "zh": ZH}


def words_of(language: str) -> dict[str, str]:
    """Return the words of a language; of another, raise ValueError."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language {language!r}: the known ones are en, zh")
    return LANGUAGES[language]
