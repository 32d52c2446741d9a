"""Whom to ask about next: a priority for each person, and as many as a budget pays for."""

from __future__ import annotations

from annotator.selection.budget import COST, UNITS, Cost
from annotator.selection.choosing import Request, asked, choose
from annotator.selection.strategies import STRATEGIES
from annotator.selection.table import ROLES, Selection

__all__ = ["COST", "ROLES", "STRATEGIES", "UNITS", "Cost", "Request", "Selection", "asked", "choose"]
