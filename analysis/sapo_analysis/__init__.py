"""Look at gates and at the runs that were trained with them."""
