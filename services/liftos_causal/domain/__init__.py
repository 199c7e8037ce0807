"""Attribution, effects and budgets, as pure functions of daily numbers."""
