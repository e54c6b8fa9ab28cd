"""
The ROC curve of an attack
==========================

Scores of members and others, the chosen threshold, and the limit of a private
mechanism.
"""

import fermiac as fm

stream = fm.random.Stream(1)
audit = fm.privacy.audit_scores(stream.normal(2000) + 1.0, stream.normal(2000))
fm.plotting.plot_roc(audit.roc, threshold=audit.threshold, epsilon=audit.epsilon_lower)
