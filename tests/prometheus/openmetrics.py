"""Reads a page of OpenMetrics from standard input with the strict parser of prometheus-client; prints a line of each family."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    print(family.name, family.type, family.unit, len(family.samples))
