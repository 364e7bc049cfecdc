"""Who is who: keys, certificates, invitations, the roster, and what each role may do."""
