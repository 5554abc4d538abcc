"""What a recording keeps as it is: names and words that decide how the program behaves, and are nothing of a person.

These are closed lists. What is not in them is replaced.
"""

from __future__ import annotations

import re


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TIME = re.compile(
    r"\s*[12][0-9]{3}-?[0-9]{2}-?[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?"
    r"\s*(?:Z|[+-][0-9]{2}:?[0-9]{2})?\s*",
    re.IGNORECASE,
)
_SECONDS = re.compile(r"[12][0-9]{9}")
_COUNT = re.compile(r"\s*[-+]?[0-9]{1,7}\s*")

_TIMES = _set(
    "createDate addDate actionTime bounceTime openTime clickTime unsubscribeTime scheduledTime releasedTime time"
)
_COUNTS = _set(
    "limit offset total count bounceCount recipientCount bounces delivered unsubscribes opens clicks unique forwards "
    "comments complaints released enabled accountType subscriberLimit multiClientFolder multiUser useLogoInFooter "
    "forwardToFriend subscriptionManagement clickTrackMode useAccountAddress archiveByDefault emailOwnerOnChange "
    "welcomeOnManualAdd welcomeOnSignupAdd displayToUser rawScore spamDetailScore assetsProbe"
)
_IDS = _set(
    "accountId clientFolderId contactId messageId listId sendId campaignId segmentId subscriptionId replyToCampaignId "
    "welcomeMessageId confirmationMessageId includeListIds excludeListIds includeSegmentIds excludeSegmentIds listIds "
    "logoId criterionId webhookId uploadId actor"
)
_REMARKS = _set("errors warnings error warning")
_WORDS = {
    "status": _set(
        "normal bounced donotcontact pending invitable deleted total unlisted unsubscribed sending released cancelled "
        "canceled complete receiving"
    ),
    "messageType": _set("normal confirmation welcome autoresponder"),
    "actionType": _set(
        "editfields editstatus editsubscription click survey open bounce releasesend schedulesend forward cancelsend "
        "send addcontact"
    ),
    "fieldType": _set("checkbox text number decimalone decimaltwo decimalthree decimalfour date"),
    "operator": _set("eq lt lte gt gte bet contains notcontains month day year"),
    "actor": _set("system admin contact user"),
}
"""In small letters."""
_WORDS["newStatus"] = _WORDS["status"]
# `assetsprobe` here, and `assetsProbe` above, are nothing of iContact's: the probe asks for them.
_RESOURCES = _set(
    "a c time contacts actions lists subscriptions messages bounces opens clicks unsubscribes statistics sends "
    "campaigns customfields segments criteria webhooks uploads data assetsprobe"
)
_SINGULAR = _set(
    "account clientfolder contact list subscription message send campaign customfield segment criterion upload webhook "
    "action statistic"
)
_NAMES = (
    _TIMES
    | _COUNTS
    | _IDS
    | _REMARKS
    | _WORDS.keys()
    | _RESOURCES
    | _SINGULAR
    | _set(
        "accounts clientfolders timestamp email prefix firstName lastName suffix street street2 city state postalCode "
        "phone fax business companyName title country billingStreet billingCity billingState billingPostalCode "
        "billingCountry emailRecipient name fromName fromEmail footerLogoUrl subject messageName htmlBody textBody "
        "previewText spamCheck spamDetails spamDetailName spamDetailDescription description zip publicname "
        "customFieldId privateName publicName fieldName values details clickLink sourceChannel eventId url orderby "
        "fieldSearchType action"
    )
)
_FOLDED = frozenset(name.lower() for name in _NAMES)
_SEARCH_TYPE = "SearchType"

_SPOKEN = _set(
    "a about access account accounts addition address admin again all allowed already also an and any api app appid "
    "application are array as at authorized bad be because been before being billing blank body bounced but by call "
    "campaign campaigns can canceled cancelled cannot change changed changes character characters check choose client "
    "clientfolder code complete confirmation contact contacts contain could create created custom daily data date day "
    "deleted denied description did disabled do does donotcontact duplicate either email emailed empty enabled enhance "
    "entered error exceeded exist existing exists expected failed field fields first folder following for forbidden "
    "format found from given gateway globally has have hour id ids if ignored in inactive incorrectly integer internal "
    "invalid invitable is it item items json large largest length limit list lists locked long mailed maximum message "
    "messages method minute missing more must name no normal not null number of off offset on one only opt opted or "
    "order orderby other out page parameter parsed password payment pending permission please possible post process "
    "processed profile provide provided put quota rate reached read reason reasons received recognized record records "
    "rejected released remove removed request requested requests required requires resource result rows s same "
    "scheduled search see send sends server service set size small so space specified status storage string submitted "
    "subscribe subscribed subscription subscriptions suppress suppressed suppression system temporarily term terms "
    "text that the there therefore these this time to too total try type unable unavailable unknown unlisted unpaid "
    "unsubscribe unsubscribed unsupported update updated uri user username valid value values version was were what "
    "when which with within wrong xml you your bounce calm implemented acceptable media unauthorized conflict"
)

_TOP_LEVEL = _set(
    "com net org edu gov mil int info biz name pro aero coop museum example test invalid localhost local app dev "
    "cloud online shop store site email"
)

MEDIA_TYPES = _set("application/json text/json text/html text/plain text/xml application/xml application/octet-stream")
"""The types of content that a recording names. Another one is replaced."""


def stays(name: str, text: str) -> bool:
    """Whether what a field of that name holds is kept: a time, a count, a flag or a word of the service."""
    if text == "":
        return True
    if name in _TIMES:
        return _TIME.fullmatch(text) is not None
    if name in _COUNTS:
        return _COUNT.fullmatch(text) is not None
    if name == "timestamp":
        return _SECONDS.fullmatch(text) is not None
    if name.endswith(_SEARCH_TYPE):
        return text in _WORDS["operator"]
    if name == "orderby":
        return all(is_name(word) or word in ("asc", "desc") for word in re.split(r"[,:]", text))
    if name == "fieldName":
        return is_name(text)
    return name in _WORDS and text.strip().lower() in _WORDS[name]


def is_id(name: str) -> bool:
    """Whether a field of that name holds an id, or several."""
    return name in _IDS


def is_remark(name: str) -> bool:
    """Whether a field of that name holds what the service says to a person."""
    return name in _REMARKS


def is_word(word: str) -> bool:
    """Whether a word of a remark is one of the service's."""
    return word.lower() in _SPOKEN or is_name(word)


def is_name(name: str) -> bool:
    """Whether a field or term is one of the API's, however it is written."""
    bare = name.removesuffix(_SEARCH_TYPE)
    return bare.lower() in _FOLDED or name == ""


def is_resource(part: str) -> bool:
    """Whether a part of a path names a resource."""
    return part in _RESOURCES or part == ""


def is_top_level(label: str) -> bool:
    """Whether the last label of a domain is kept: one of a country, or one that everybody may have."""
    return label.isascii() and label.isalpha() and (len(label) == 2 or label.lower() in _TOP_LEVEL)
