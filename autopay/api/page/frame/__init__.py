"""What every view stands in: templates, routes whose errors are views, the stream of events, scripts and styles."""
