"""Currencies that a row may carry."""

from typing import Final

_IN_USE: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD
    FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD
    JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
    PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
    SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF
    XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
_WITHDRAWN_SINCE_2000: Final = """
    AFA ANG ATS AZM BEF BGL BGN BYR CSD CUC CYP DEM EEK ESP FIM FRF GHC GRD HRK IEP ITL
    LTL LUF LVL MGF MRO MTL MZM NLG PTE ROL SDD SIT SKK SLL SRG STD TMM TRL VEB VEF YUM
    ZMK ZWD ZWL
"""
_SMALL_UNIT: Final = """
    AMD ARS BIF CDF CLP COP CRC DJF GNF HUF IDR IQD IRR ISK ITL JPY KHR KMF KRW KZT LAK
    LBP MGA MMK MNT MWK NGN PKR PYG ROL RSD RWF SLL SOS SSP STD SYP TRL TZS UGX UZS VEB
    VEF VND XAF XOF XPF YER ZWD ZWL
"""

CURRENCY_CODES: Final = frozenset(_IN_USE.split()) | frozenset(_WITHDRAWN_SINCE_2000.split())
"""ISO 4217 codes of money in use at any time since 2000, the first year that a row may have.

Metals, funds, units of account and test codes are left out: nobody is billed in them.
"""

SMALL_UNIT_CURRENCY_CODES: Final = frozenset(_SMALL_UNIT.split())
"""Currencies whose unit bought about a hundredth of a euro or less at some time since 2000.

Limits on an amount per unit of something, such as a plausible price of an impression, mean nothing
in them.
"""
