"""The page of a run: read-only for everybody, with a volunteer's own part and a maintainer's. See decision 0022."""
