"""What a model does, measured and provoked in the open: suites, probe sets, and the public record of a run."""
