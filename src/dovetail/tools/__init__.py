"""One module an outside tool: the only place that imports it and translates its errors."""
