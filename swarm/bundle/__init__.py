"""The bundle: a trained model that people can hold, with its papers. See docs/bundle.md."""
