"""Google's published messages of v26, as plain protobuf classes.

The only module that imports the SDK's packages of messages, which take about a second. The wrapped
classes that the SDK offers are several times slower to build and to read. The classes are made at
run time, so that no type checker knows their fields.
"""

from typing import Any, Final

from google.ads.googleads.v26.errors.types.errors import GoogleAdsFailure as _Failure
from google.ads.googleads.v26.services.types import customer_service as _customers
from google.ads.googleads.v26.services.types import google_ads_field_service as _fields
from google.ads.googleads.v26.services.types import google_ads_service as _search

VERSION: Final = "v26"

Row: Final[type[Any]] = _search.GoogleAdsRow.pb()
SearchRequest: Final[type[Any]] = _search.SearchGoogleAdsRequest.pb()
SearchResponse: Final[type[Any]] = _search.SearchGoogleAdsResponse.pb()
StreamRequest: Final[type[Any]] = _search.SearchGoogleAdsStreamRequest.pb()
StreamResponse: Final[type[Any]] = _search.SearchGoogleAdsStreamResponse.pb()
AccessibleCustomersRequest: Final[type[Any]] = _customers.ListAccessibleCustomersRequest.pb()
AccessibleCustomersResponse: Final[type[Any]] = _customers.ListAccessibleCustomersResponse.pb()
FieldsRequest: Final[type[Any]] = _fields.SearchGoogleAdsFieldsRequest.pb()
FieldsResponse: Final[type[Any]] = _fields.SearchGoogleAdsFieldsResponse.pb()
Failure: Final[type[Any]] = _Failure.pb()
