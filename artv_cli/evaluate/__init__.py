"""Evaluation: a judge that learned from ground truth, figures, and reports with their bars."""
