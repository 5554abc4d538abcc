"""Which opens and clicks were a machine's: one query, that of the view `labelled_activity`."""

from __future__ import annotations

LABELLED = """
    WITH bursts AS (
        SELECT message_id, contact_id FROM "{schema}".raw_activity WHERE event_type = 'click'
        GROUP BY ALL
        HAVING count(DISTINCT event_url) >= 3 AND max(event_time) - min(event_time) <= INTERVAL 10 SECONDS
    )
    SELECT a.*, CASE WHEN b.contact_id IS NOT NULL THEN 'scanner' END AS machine,
        CASE WHEN a.event_type IN ('open', 'click') THEN if(b.contact_id IS NULL, 0, 0.95)::DOUBLE END AS confidence
    FROM "{schema}".raw_activity a
    LEFT JOIN bursts b ON a.event_type = 'click' AND b.message_id = a.message_id AND b.contact_id = a.contact_id
"""
