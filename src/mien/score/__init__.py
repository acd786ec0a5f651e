"""Reading faces in very many images: planned in parts, each done once, on engines that exist.

`plan_scores` cuts a source into parts and writes the plan beside the results; an engine does the
parts that are missing, each written whole or not at all. So whatever is killed, starting again
continues, and the finished output has every image once.
"""

from mien.score.engines import ENGINES, run_parts
from mien.score.plan import Job, Plan, plan_scores
from mien.score.work import SCHEMA, score_part, unreadable_in

__all__ = [
    "ENGINES",
    "SCHEMA",
    "Job",
    "Plan",
    "plan_scores",
    "run_parts",
    "score_part",
    "unreadable_in",
]
