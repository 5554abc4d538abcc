"""The readings of what the service leaves open: one typed field per unknown, the default first."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from icontact_assets.sandbox.times import DateStyle, Style


class Switches(BaseModel):
    """Every choice the sandbox offers. An unknown name or value is refused. See docs/sandbox.md for what each one does."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    page_limit: Literal["clamp", "none", "refuse"] = Field("clamp", description="what happens above `page_limit_rows`")
    page_limit_rows: int = Field(500, ge=1, description="largest page")
    messages_limit_rows: int = Field(0, ge=0, description="largest page of messages. 0: `page_limit_rows`")
    activity_limit_rows: int = Field(0, ge=0, description="largest page of activity. 0: `page_limit_rows`")
    page_limit_echo: Literal["applied", "asked", "missing"] = Field(
        "applied", description="the `limit` written in the reply"
    )
    bad_limit: Literal["default", "refuse", "empty"] = Field(
        "default", description="limit=0, negative, not a number: 20 rows, or 400. `empty`: limit=0 brings no rows"
    )
    past_end: Literal["empty", "null", "missing", "refuse"] = Field(
        "empty", description="the array when offset >= total, or 400 when it is greater"
    )
    totals: Literal["told", "missing"] = Field("told", description="the `total` of a page")
    listing_order: Literal["ascending", "descending", "stable", "shuffled"] = Field(
        "ascending",
        description="order of contacts, messages, sends, lists, ... without orderby. `stable` is neither by id nor by "
        "time, and the same at each call",
    )
    page_errors: Literal["none", "500", "200"] = Field(
        "none", description="a page that holds the third message brings `errors` with this status in place of rows"
    )
    unknown_term: Literal["warn", "silent", "empty", "refuse"] = Field(
        "warn",
        description="a search term that no page describes, but on activity: ignored with a warning, ignored without "
        "one, no rows, or 400",
    )
    contact_id_comparison: Literal["apply", "warn", "silent", "equals", "text", "refuse"] = Field(
        "apply",
        description="contactIdSearchType=gt and so on: honoured, ignored with a warning, ignored without one, taken for "
        "eq, honoured by comparing texts, or 400",
    )
    orderby: Literal["apply", "warn", "silent", "refuse"] = Field(
        "apply", description="orderby on contacts, messages, ...: honoured, ignored with a warning, without one, or 400"
    )
    contacts_default: Literal["listed", "all"] = Field("listed", description="GET /contacts without status")
    total_includes_deleted: bool = Field(False, description="status=total brings deleted contacts too")
    deleted_contact: Literal["readable", "not_found"] = Field(
        "readable", description="GET of a deleted contact by id, and of its history"
    )
    unknown_path: Literal["501", "404"] = Field("501", description="a resource that does not exist")
    unknown_message: Literal["404", "500", "empty"] = Field(
        "404", description="activity and statistics of a message that does not exist: 500 says `No result`"
    )
    max_url_length: int = Field(0, ge=0, description="longest URL. A longer one gets 414. 0 lifts it")
    max_list_values: int = Field(0, ge=0, description="most values in one comma list. More get 400. 0 lifts it")

    activity_order: Literal["ascending", "descending", "shuffled", "appended", "mixed"] = Field(
        "ascending",
        description="rows of the four listings: by listing position, reversed, new per call, by visibility, or each "
        "listing in another of these stable orders",
    )
    activity_filters: Literal["ignore", "apply", "silent"] = Field(
        "ignore", description="search terms on activity: ignored with a warning, honoured, ignored without one"
    )
    opens_rows: Literal["every", "first"] = Field("every", description="one row per open, or per contact")
    identical_rows: Literal["keep", "drop"] = Field("keep", description="fully identical rows of a listing")
    latency_seconds: int = Field(0, ge=0, description="events become visible so much later")
    retention_days: int = Field(0, ge=0, description="older events vanish. 0 keeps them")
    activity_of_deleted: Literal["keep", "drop"] = Field(
        "keep", description="rows of contacts that are deleted, or that do not exist any more"
    )
    statistics: Literal["equal", "lagging", "distinct", "ever", "missing"] = Field(
        "equal",
        description="row totals, row totals of a while ago, totals without identical rows, totals with the rows that "
        "retention and deletions took, or none",
    )
    statistics_lag_seconds: int = Field(86_400, ge=0, description="how long ago `lagging` is")
    action_details: Literal["empty", "message"] = Field(
        "empty", description="details of Open, Click, Bounce, ReleaseSend"
    )
    automation_sends: Literal["include", "exclude"] = Field(
        "include", description="sends made by automations in /sends"
    )

    ids: Literal["string", "integer", "mixed"] = Field("string", description="how ids are written, everywhere")
    activity_time: Style = Field(
        "iso",
        description="times of activity rows. `fixed` has -05:00 in summer too, `mixed` has Eastern times and UTC by "
        "turns, `other` has milliseconds, `unreadable` is 09/14/2026 09:20:00",
    )
    message_date: Style = Field("iso", description="createDate of messages")
    contact_date: DateStyle = Field(
        "blank", description="createDate of contacts. `blank_utc` is UTC that does not say so"
    )
    send_date: Style = Field("iso", description="scheduledTime and releasedTime of sends")
    subscription_date: Style = Field("iso", description="addDate of subscriptions")
    action_time: Style = Field("no_colon", description="actionTime in the history of a contact")
    nulls: Literal["null", "blank"] = Field(
        "null", description="unset fields of contacts in listings: null, or an empty text"
    )
    message_bodies: Literal["listed", "left_out"] = Field(
        "listed", description="htmlBody and textBody in the listing of messages"
    )
    extra_fields: bool = Field(False, description="every row has a field that no page describes")
    content_type: Literal["application/json", "text/html; charset=utf-8"] = Field(
        "application/json", description="Content-Type of JSON replies"
    )
    gzip: bool = Field(True, description="compress where the caller accepts it")

    bulk_limit: int = Field(500, ge=0, description="most rows in one POST. More get 400. 0 lifts it")
    bulk_failure: Literal["skip", "refuse"] = Field(
        "skip", description="bad rows are left out with a warning, or 400 for all"
    )
    bulk_reply_order: Literal["input", "shuffled"] = Field("input", description="order of the rows that a POST answers")
    post_existing_contact: Literal["merge", "overwrite"] = Field(
        "merge", description="omitted fields of a known address"
    )
    resubscribe: Literal["skip", "400", "409", "success", "pretend"] = Field(
        "skip",
        description="posting someone who left or must not be mailed. `pretend` answers a row and changes nothing",
    )
    post_existing_subscription: Literal["existing", "warning", "409"] = Field(
        "existing", description="posting it again"
    )
    move_existing: Literal["merge", "400", "409"] = Field(
        "merge", description="moving someone onto a list that they are on already"
    )
    move_unsubscribed: Literal["carry", "subscribe", "400"] = Field(
        "carry", description="moving someone who left: the new subscription is unsubscribed, is normal, or is refused"
    )
    refusal_names: Literal["id", "address", "both"] = Field(
        "id", description="how a refusal to subscribe or move somebody names them"
    )
    write_delay_seconds: int = Field(0, ge=0, description="what is written shows after so many seconds of the clock")

    requests_per_minute: int = Field(60, ge=0, description="most in any 60 s. 0 lifts it")
    requests_per_day: int = Field(6000, ge=0, description="most in any 24 h. 0 lifts it")
    limit_reply: Literal["503", "503_retry_after", "503_html", "429", "420"] = Field(
        "503", description="the answer above either limit"
    )
    limit_headers: Literal["none", "some"] = Field(
        "none", description="whether answers have X-RateLimit-Limit, -Remaining and -Reset"
    )
    auth_status: Literal["401", "403"] = Field("401", description="status of refused credentials")
    auth_body: Literal["each", "one", "html"] = Field(
        "each", description="refused credentials: words about the wrong one, always the same words, or a page"
    )
    foreign_status: Literal["403", "404"] = Field("403", description="another account or folder")
    second_account: Literal["none", "disabled"] = Field("none", description="a disabled account is the first in /a")
    folders: Literal["plain", "agency"] = Field("plain", description="shape of the client folders listing")
