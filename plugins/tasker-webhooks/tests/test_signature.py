"""Signatures, against what the specification says of them."""

from __future__ import annotations

import pytest

from tasker_webhooks.signature import NotVerified, key, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_reference_libraries_is_signed_as_they_do():
    assert sign([key(SECRET)], *MESSAGE) == SIGNED


def test_each_secret_signs():
    both = sign([b"a" * 24, key(SECRET)], *MESSAGE)
    assert both.split(" ")[1] == SIGNED
    assert both.count("v1,") == 2


@pytest.mark.parametrize(
    "secret", ["whsec_", "whsec_short", "whsec_not base64 at all, is it", "", "whsec_" + "A" * 200]
)
def test_what_is_no_secret_is_told_without_saying_it(secret):
    with pytest.raises(ValueError, match=r"base64|bytes") as told:
        key(secret)
    assert secret == "" or secret not in str(told.value)


def test_a_receiver_verifies():
    secret = "whsec_" + "A" * 32
    headers = {
        "Webhook-Id": "m",
        "Webhook-Timestamp": "1000",
        "Webhook-Signature": sign([key(secret)], "m", 1000, b"x"),
    }
    assert verify(secret, headers, b"x", now=1299) == "m"
    for changed in ({"Webhook-Id": "n"}, {"Webhook-Timestamp": "1001"}, {"Webhook-Signature": "v1,AAAA"}):
        with pytest.raises(NotVerified):
            verify(secret, {**headers, **changed}, b"x", now=1299)
    with pytest.raises(NotVerified):
        verify(secret, headers, b"y", now=1299)
    with pytest.raises(NotVerified, match="too old"):
        verify(secret, headers, b"x", now=1301)
    with pytest.raises(NotVerified, match="needed"):
        verify(secret, {}, b"x", now=1299)
