"""Ways in which systems of this kind were broken in public, and the class of tests that stands against each.

| way | tests |
|---|---|
| unsafe deserialisation | hostile/test_content.py::TestDeserialisation |
| code run on arrival | hostile/test_content.py::TestCodeOnArrival, node/test_agent.py |
| missing or fail-open authentication, an empty nonce | hostile/test_strangers.py::TestFailOpen, server/test_api.py |
| an algorithm or a component left out of a signature | wire/test_signature.py::TestDowngrade |
| replay: twice, stale, for another path | hostile/test_strangers.py::TestReplay, wire/test_signature.py::TestReplay |
| a body that does not match its digest | hostile/test_strangers.py::TestBodies |
| another tenant's run, node or blob | hostile/test_other_tenants.py::TestOtherTenants |
| tokens and keys that never expire | hostile/test_strangers.py::TestEnds, identity/test_invitation.py::TestEnd |
| enumeration of users by message or timing | hostile/test_strangers.py::TestEnumeration |
| downgrade to plain text | hostile/test_downgrade.py::TestDowngrade, wire/test_http.py::TestPlainText |
| bodies over the limit, bombs, lying lengths, overflowing shapes, nesting | hostile/test_content.py::TestSizes |
| slow bodies and heads, answers left lying | hostile/test_slow_clients.py::TestSlowRequests |
| heads without an end | hostile/test_slow_clients.py::TestLongHeads |
| floods of connections, TLS handshakes without an end | hostile/test_slow_clients.py::TestFlood |
| path traversal and links in bundles | node/test_bundle.py, store/test_blobs.py |
| NaN, wrong shape, huge norm, no weight | hostile/test_content.py::TestPoison |
| a repeat with other content | server/test_faults.py::TestContributions |
| any decoder, any bytes | fuzz/test_decoders.py |
| any operation, right and wrong | fuzz/test_schemathesis.py |
"""
