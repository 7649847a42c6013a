"""The worked solution of a step of gradient descent: every number, its formula, and its line.

expression    formulas as values
formulas      the rules as formulas
names         what a quantity is called, read from text
source        the lines of mlp.py
steps         each quantity with its formula and its value
outline       the solution: all quantities by name, in sections
notation      how a formula is written
words         what stands between the formulas, in each language
page          what the ways to write a solution share: text, latex (Markdown too) and html
solution      `explain`, and what it returns
published     the published example, and the four losses that circulate for it
"""
