"""One screen from several calls: plan, concurrent run, joins, completeness, merge. No HTTP in here."""
