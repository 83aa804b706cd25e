"""How requirements are proved: rigorous intervals, limits, sections between breakpoints, branch and bound."""
