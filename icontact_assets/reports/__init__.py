"""Raw rows to what a marketer looks at: campaigns, links, engagement, domains and list health. Knows no Dagster."""
