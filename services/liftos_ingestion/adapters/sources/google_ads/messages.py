"""Google's published messages of v26, as plain protobuf classes.

Nothing else loads the packages of messages, which take a second: import this module late and not
in the event loop. The classes are made at run time, so that no type checker knows their fields;
the wrapped ones that the packages offer are several times slower to read.
"""

from typing import Any, Final

from google.ads.googleads.v26.errors.types.errors import GoogleAdsFailure as _Failure
from google.ads.googleads.v26.services.types import customer_service as _customers
from google.ads.googleads.v26.services.types import google_ads_service as _search
from google.protobuf.message import DecodeError as _DecodeError

SEARCH_STREAM: Final = "/google.ads.googleads.v26.services.GoogleAdsService/SearchStream"
LIST_ACCESSIBLE_CUSTOMERS: Final = (
    "/google.ads.googleads.v26.services.CustomerService/ListAccessibleCustomers"
)

Row: Final[type[Any]] = _search.GoogleAdsRow.pb()
StreamRequest: Final[type[Any]] = _search.SearchGoogleAdsStreamRequest.pb()
StreamResponse: Final[type[Any]] = _search.SearchGoogleAdsStreamResponse.pb()
AccessibleCustomersRequest: Final[type[Any]] = _customers.ListAccessibleCustomersRequest.pb()
AccessibleCustomersResponse: Final[type[Any]] = _customers.ListAccessibleCustomersResponse.pb()
Failure: Final[type[Any]] = _Failure.pb()
DecodeError: Final = _DecodeError
