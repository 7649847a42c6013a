"""The worked solution of a step of gradient descent: every number, its formula, and its line.

names         what a quantity is called, read from text
formulas      the rules as formulas
source        the lines of mlp.py
steps         each quantity with its formula and its value
outline       the solution: all quantities by name, in sections
notation      how a formula is written: text, ASCII, LaTeX, MathML
words         what stands between the formulas, in each language
page          a solution written out in each format
solution      `explain`, and what it returns
published     the published example, and the four losses that circulate for it
"""
