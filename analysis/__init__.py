"""The report generator. Imports ``raprune.results`` and nothing else of raprune: it needs neither torch nor ray."""
