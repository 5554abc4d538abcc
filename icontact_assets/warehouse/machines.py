"""Which opens and clicks were a machine's: one query, that of the view `labelled_activity`."""

from __future__ import annotations

LABELLED = """
    -- Where no send is known, the first event of the message is the best lower bound of its release.
    WITH releases AS (
        SELECT DISTINCT message_id, released_at AS began, true AS known
        FROM "{schema}".current_sends WHERE released_at IS NOT NULL
        UNION ALL
        SELECT message_id, min(event_time), false
        FROM "{schema}".raw_activity
        ANTI JOIN (FROM "{schema}".current_sends WHERE released_at IS NOT NULL) USING (message_id)
        GROUP BY message_id
    ),
    messages AS (
        SELECT message_id, min(began) AS first_began, row_number() OVER (ORDER BY min(began), message_id) AS number
        FROM releases GROUP BY message_id
    ),
    near AS (
        SELECT a.rowid AS line, a.message_id, contact_id, event_type, event_time, known,
            began = first_began AS at_first, date_diff('second', began, event_time) AS after
        FROM "{schema}".raw_activity a JOIN releases r ON r.message_id = a.message_id
            AND event_time BETWEEN began - INTERVAL 10 MINUTES AND began + INTERVAL 1 HOUR
        JOIN messages m ON m.message_id = a.message_id
        WHERE event_type IN ('open', 'click')
    ),

    -- Scanners. A spree: clicks of a contact that follow each other within 30 seconds.
    clicks AS (
        SELECT *, sum(starts) OVER (
            PARTITION BY message_id, contact_id ORDER BY event_time RANGE UNBOUNDED PRECEDING
        ) AS spree
        FROM (
            SELECT rowid AS line, message_id, contact_id, event_time, event_url,
                coalesce(event_time - lag(event_time) OVER (
                    PARTITION BY message_id, contact_id ORDER BY event_time
                ) > INTERVAL 30 SECONDS, true)::INTEGER AS starts
            FROM "{schema}".raw_activity WHERE event_type = 'click'
        )
    ),
    sprees AS (
        SELECT message_id, contact_id, spree, min(event_time) AS begins, max(event_time) AS ends,
            date_diff('second', begins, ends) AS lasts, count(DISTINCT event_url) AS links
        FROM clicks GROUP BY ALL
    ),
    opens AS (
        SELECT rowid AS line, message_id, contact_id, event_time
        FROM "{schema}".raw_activity SEMI JOIN clicks USING (message_id, contact_id)
        WHERE event_type = 'open'
    ),
    signs AS (
        SELECT s.*,
            CASE WHEN s.links < l.links OR lasts > 30 + 3 * s.links THEN 0
                WHEN s.links <= 2 THEN 1 WHEN s.links = 3 THEN 2 ELSE 3 END AS every_link,
            CASE WHEN s.links >= 3 AND lasts <= 3 * (s.links - 1) THEN 2
                WHEN s.links = 2 AND lasts <= 1 THEN 1 ELSE 0 END AS fast,
            (n.message_id IS NOT NULL)::INTEGER AS early,
            (spree = 1 AND coalesce(first_open > begins - INTERVAL 3 SECONDS, true))::INTEGER AS unread
        FROM sprees s
        JOIN (SELECT message_id, count(DISTINCT event_url) AS links FROM clicks GROUP BY message_id) l
            USING (message_id)
        LEFT JOIN (SELECT message_id, contact_id, min(event_time) AS first_open FROM opens GROUP BY ALL)
            USING (message_id, contact_id)
        LEFT JOIN (
            SELECT DISTINCT message_id, contact_id, event_time AS begins FROM near
            WHERE event_type = 'click' AND after <= 60
        ) n USING (message_id, contact_id, begins)
    ),
    scans AS (
        SELECT signs.*, every_link + fast + early + unread + if(habit, 2 * unread, 0) AS points
        FROM signs JOIN (
            SELECT contact_id, max(every_link + fast + early + unread) >= 3 AS habit FROM signs GROUP BY contact_id
        ) USING (contact_id)
    ),
    scanned AS (
        SELECT line, points FROM scans JOIN clicks USING (message_id, contact_id, spree) WHERE points >= 3
        UNION ALL
        -- A scanner works before it delivers, so an open just before it is its own.
        SELECT line, points FROM scans JOIN opens USING (message_id, contact_id)
        WHERE points >= 3 AND event_time BETWEEN begins - INTERVAL 30 SECONDS AND ends + INTERVAL 3 SECONDS
    ),

    -- Bursts. `mailed`: a message, an event type and a domain as one number, which halves the time. Only the minutes
    -- around seconds with several events are counted, because windows over all rows take long.
    addressed AS (
        SELECT a.rowid AS line, hash(message_id, event_type, domain) AS mailed, contact_id, event_time
        FROM "{schema}".raw_activity a JOIN (
            SELECT id AS contact_id, lower(split_part(email, '@', -1)) AS domain
            FROM "{schema}".current_contacts WHERE contains(email, '@')
        ) USING (contact_id)
        WHERE event_type IN ('open', 'click')
    ),
    crowded AS (
        SELECT DISTINCT mailed, unnest([minute - 1, minute, minute + 1]) AS minute
        FROM (
            SELECT mailed, epoch(event_time)::BIGINT // 60 AS minute FROM addressed
            GROUP BY mailed, event_time HAVING count(*) > 1
        )
    ),
    seconds AS (
        SELECT mailed, event_time, count(DISTINCT contact_id) AS people, list(line) AS lines
        FROM (SELECT *, epoch(event_time)::BIGINT // 60 AS minute FROM addressed)
        SEMI JOIN crowded USING (mailed, minute)
        GROUP BY ALL
    ),
    counted AS (
        SELECT lines, greatest(
                sum(people) OVER (of_domain RANGE BETWEEN CURRENT ROW AND INTERVAL 1 SECOND FOLLOWING),
                sum(people) OVER (of_domain RANGE BETWEEN INTERVAL 1 SECOND PRECEDING AND CURRENT ROW)
            ) AS together,
            sum(people) OVER (
                of_domain RANGE BETWEEN INTERVAL 30 SECONDS PRECEDING AND INTERVAL 30 SECONDS FOLLOWING
            ) AS around
        FROM seconds WINDOW of_domain AS (PARTITION BY mailed ORDER BY event_time)
    ),
    marked AS (
        SELECT line, 'scanner' AS machine,
            CASE points WHEN 3 THEN 0.8 WHEN 4 THEN 0.9 WHEN 5 THEN 0.95 ELSE 0.98 END AS confidence FROM scanned
        UNION ALL
        SELECT unnest(lines), 'burst', CASE WHEN together < 6 THEN 0.8 WHEN together < 10 THEN 0.9 ELSE 0.95 END
        FROM counted WHERE together >= 4 AND together > 0.5 * around
        UNION ALL
        SELECT line, 'before_delivery', 0.9 FROM near
        WHERE event_type = 'click' AND known AND at_first AND after <= 5
    ),

    -- Privacy proxies. An open is alone if nothing else is known of the contact and the message but what is marked.
    alone AS (
        SELECT message_id, contact_id, line, min(after) AS after, bool_or(known) AS known
        FROM near ANTI JOIN marked USING (line)
        ANTI JOIN (
            SELECT message_id, contact_id FROM "{schema}".raw_activity a
            SEMI JOIN near USING (message_id, contact_id)
            ANTI JOIN marked ON marked.line = a.rowid
            WHERE event_type IN ('open', 'click')
            GROUP BY ALL HAVING count(*) > 1
        ) USING (message_id, contact_id)
        WHERE event_type = 'open' AND after >= 0 GROUP BY ALL
    ),
    fetched AS (
        SELECT contact_id, count(*) FILTER (after < 10 AND known) AS at_once,
            count(*) >= 5 AND count(*) >= 0.8 * (max(number) - min(number) + 1) AS always
        FROM alone JOIN messages USING (message_id) GROUP BY contact_id
    ),
    proxied AS (
        SELECT contact_id FROM fetched
        ANTI JOIN (
            SELECT contact_id FROM "{schema}".raw_activity a
            SEMI JOIN (FROM fetched WHERE at_once = 1 OR at_once = 0 AND always) USING (contact_id)
            ANTI JOIN marked ON marked.line = a.rowid
            ANTI JOIN alone ON alone.line = a.rowid
            WHERE event_type IN ('open', 'click')
        ) USING (contact_id)
        WHERE at_once >= 1 OR always
    ),
    labels AS (
        -- Rules that agree are taken as independent. Where two are as sure, the name decides, so that it is repeatable.
        SELECT line, arg_max(machine, (confidence, machine)) AS machine,
            round(1 - product(1 - confidence), 3) AS confidence
        FROM (
            FROM marked UNION ALL
            SELECT line, 'privacy_proxy', CASE
                WHEN after < 10 AND known THEN if(p.contact_id IS NULL, 0.7, 0.9) ELSE 0.8 END
            FROM alone LEFT JOIN proxied p USING (contact_id)
            WHERE after < 10 AND known OR p.contact_id IS NOT NULL
        ) GROUP BY line
    )
    SELECT a.*, machine, if(event_type IN ('open', 'click'), coalesce(confidence, 0), NULL)::DOUBLE AS confidence
    FROM "{schema}".raw_activity a LEFT JOIN labels ON line = a.rowid
"""
"""The rules with their reasons are in docs/machines.md. `{schema}` is the schema of the import.

Times are whole seconds. It reads raw_activity, the releases of current_sends and the domains of current_contacts.
"""
