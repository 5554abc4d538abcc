"""Computes `domains`: how mail fares at each receiving domain."""

from __future__ import annotations

import duckdb

from icontact_assets.reports.store import store
from icontact_assets.reports.tables import DOMAINS, LEAST_CONTACTS, LEAST_DELIVERIES, OTHER_DOMAINS

_Z = 1.959963984540054
"""Of a normal distribution 95 % are within so many standard deviations."""


def build_domains(connection: duckdb.DuckDBPyConnection) -> int:
    """Compute `domains` from the raw tables and the temporary tables `labelled`, `sent` and `mails`: how many rows."""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE domain_of AS
        WITH found AS (
            SELECT id AS contact_id, arg_max(
                nullif(lower(regexp_extract(email, '@([^@<>\\s]+)>?\\s*$', 1)), ''), observed_at) AS domain
            FROM raw_contacts GROUP BY id
        )
        SELECT contact_id, if(count(domain) OVER (PARTITION BY domain) >= {LEAST_CONTACTS}, domain, '{OTHER_DOMAINS}')
            AS domain
        FROM found
        """
    )
    rates = ", ".join(
        part
        for name, of, over in (
            ("bounce", "bounces", "deliveries + bounces"),
            ("open", "opens", "deliveries"),
            ("click", "clicks", "deliveries"),
            ("unsubscribe", "unsubscribes", "deliveries"),
        )
        for part in _rate(name, of, f"({over})")
    )
    return store(
        connection,
        DOMAINS,
        f"""
        WITH doing AS (
            SELECT contact_id, message_id, bool_or(event_type = 'bounce') AS bounced,
                bool_or(event_type = 'open' AND machine IS NULL) AS opened,
                bool_or(event_type = 'click' AND machine IS NULL) AS clicked,
                bool_or(event_type = 'unsubscribe') AS unsubscribed
            FROM temp.labelled GROUP BY ALL
        ), done AS (
            SELECT coalesce(domain, '{OTHER_DOMAINS}') AS domain, count_if(bounced) AS bounces,
                count_if(opened) AS opens, count_if(clicked) AS clicks, count_if(unsubscribed) AS unsubscribes
            FROM doing LEFT JOIN temp.domain_of USING (contact_id) GROUP BY ALL
        ), known AS (
            SELECT coalesce(domain, '{OTHER_DOMAINS}') AS domain,
                sum(bit_count(mails & (
                    SELECT bit_or(f.mails & ~b.mails) FROM temp.sent JOIN temp.first_mails b USING (n)
                    JOIN temp.first_mails f ON f.n = sent.n + 1 WHERE known))) AS delivered
            FROM temp.mails LEFT JOIN temp.domain_of USING (contact_id) GROUP BY ALL
        ), share AS (
            SELECT domain, count(*) AS contacts, count(*) / sum(count(*)) OVER () AS share
            FROM temp.domain_of GROUP BY domain
        ), unknown AS (
            SELECT coalesce(sum(coalesce(nullif(s.delivered, 0), recipients)), 0) AS delivered
            FROM temp.sent FULL JOIN current_statistics s USING (message_id) WHERE known IS NOT TRUE
        ), counted AS (
            SELECT domain, coalesce(contacts, 0) AS contacts,
                (coalesce(known.delivered, 0) + round(unknown.delivered * coalesce(share, 0)))::BIGINT AS deliveries,
                round(unknown.delivered * coalesce(share, 0)) / nullif(deliveries, 0) AS estimated_share,
                coalesce(bounces, 0) AS bounces, coalesce(opens, 0) AS opens, coalesce(clicks, 0) AS clicks,
                coalesce(unsubscribes, 0) AS unsubscribes
            FROM (SELECT domain FROM share UNION SELECT domain FROM done) LEFT JOIN share USING (domain)
            LEFT JOIN done USING (domain) LEFT JOIN known USING (domain), unknown
        )
        SELECT *, {rates} FROM counted
        """,
    )


def _rate(name: str, of: str, over: str) -> tuple[str, str, str]:
    """SQL for a rate and the ends of its Wilson interval. Where mails are estimated, more may have opened than got one:
    then all did."""
    p = f"(least({of}, {over}) / {over})"
    middle = f"({p} + {_Z**2 / 2} / {over}) / (1 + {_Z**2} / {over})"
    half = f"{_Z} / (1 + {_Z**2} / {over}) * sqrt({p} * (1 - {p}) / {over} + {_Z**2 / 4} / {over} ** 2)"
    enough = f"CASE WHEN {over} >= {LEAST_DELIVERIES} THEN "
    return (
        f"{enough}{p} END AS {name}_rate",
        f"{enough}greatest({middle} - {half}, 0) END AS {name}_rate_low",
        f"{enough}least({middle} + {half}, 1) END AS {name}_rate_high",
    )
