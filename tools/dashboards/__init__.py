"""Grafana's dashboards as code: `parts` makes the JSON, each dashboard says what it shows."""
