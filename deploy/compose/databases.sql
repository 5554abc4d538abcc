-- A database for Dagster's records and one for the catalog of the lake, each with a role that may do nothing else.
\getenv dagster DAGSTER_PASSWORD
\getenv catalog CATALOG_PASSWORD
CREATE ROLE dagster LOGIN PASSWORD :'dagster';
CREATE ROLE icontact LOGIN PASSWORD :'catalog';
CREATE DATABASE dagster OWNER dagster;
CREATE DATABASE icontact OWNER icontact;
REVOKE CONNECT ON DATABASE dagster, icontact FROM PUBLIC;
