"""Training: `fit` is the door; each other module is one concern of it.

From the ground up, where each imports of this folder only what stands before it:

history, interrupt, regularization; data (where samples come from); evaluation; callbacks;
step, turns (what moves θ); divergence; run (a training between its epochs); early_stopping,
checkpoint (who watches a run); loop, lbfgs (who drives one); fit.
"""
