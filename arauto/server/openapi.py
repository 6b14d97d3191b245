"""The OpenAPI 3.1 document, made from the route table and the types themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from arauto.core.brief import Brief
from arauto.core.errors import ArautoError, Problem
from arauto.loop import AllRefused, NewCampaign
from arauto.server.wire import Route

REF = "#/components/schemas/{name}"
TOKEN = "token"  # noqa: S105  (the name of a scheme, not a secret)
INTRODUCTION = (
    "Every error is a Problem: which field, what was wrong, the mend. "
    "Bodies are JSON whatever their content type says, so that a page needs no preflight."
)


def document(routes: Sequence[Route], version: str) -> bytes:
    """The document as JSON."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Arauto",
            "version": version,
            "description": INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {TOKEN: {"type": "http", "scheme": "bearer"}}},
    }
    return msgspec.json.encode(whole)


Schemas = dict[Any, dict[str, Any]]


def _schemas(routes: Sequence[Route]) -> tuple[Schemas, dict[str, Any]]:
    """The schema of every type the table names, and the components they refer to."""
    kinds: list[Any] = [Problem, AllRefused, Brief]
    for route in routes:
        kinds += [kind for kind in (route.body, *route.params.values()) if kind is not None]
        kinds += [kind for kind in route.answers.values() if kind is not None]
    found, components = msgspec.json.schema_components(kinds, ref_template=REF)
    for schema in _objects([found, components]):
        if schema.get("format") == "decimal":
            # The decoder takes amounts as numbers, too.
            schema["type"] = ["string", "number"]
            schema.pop("format")
    components[NewCampaign.__name__]["properties"]["brief"] = {
        "description": "A brief, of which the marketer's own words are enough.",
        "anyOf": [
            {"$ref": REF.format(name=Brief.__name__)},
            {
                "type": "object",
                "properties": {"prompt": {"type": "string", "minLength": 1, "maxLength": 2000}},
                "required": ["prompt"],
            },
        ],
    }
    return {_key(kind): schema for kind, schema in zip(kinds, found, strict=True)}, components


def _key(kind: Any) -> Any:
    return kind if isinstance(kind, type) else repr(kind)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a piece of JSON."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _objects(item)


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {str(status): answer for status, answer in _responses(route, schemas)},
    }
    if parameters := [*_path_parameters(route, schemas), *_query_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[_key(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.auth == "admin":
        operation["security"] = [{TOKEN: []}]
    return operation


def _responses(route: Route, schemas: Schemas) -> Iterator[tuple[int, dict[str, Any]]]:
    for status, kind in route.answers.items():
        if kind is None:
            content: dict[str, Any] = {route.media: {"schema": {"type": "string"}}}
        else:
            content = {route.media: {"schema": schemas[_key(kind)]}}
        yield status, {"description": HTTPStatus(status).phrase, "content": content}
    problem = schemas[AllRefused] if route.name == "events" else schemas[Problem]
    for status, codes in _by_status(route.errors).items():
        yield (
            status,
            {
                "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
                "content": {"application/json": {"schema": problem if status == 422 else schemas[Problem]}},
            },
        )


def _by_status(errors: Sequence[type[ArautoError]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for error in errors:
        found.setdefault(error.status, []).append(error.code)
    return dict(sorted(found.items()))


def _path_parameters(route: Route, schemas: Schemas) -> Iterator[dict[str, Any]]:
    for name, kind in route.params.items():
        yield {"name": name, "in": "path", "required": True, "schema": schemas[_key(kind)]}


def _query_parameters(route: Route) -> Iterator[dict[str, Any]]:
    if route.query is None:
        return
    (_,), components = msgspec.json.schema_components([route.query], ref_template=REF)
    for name, schema in components[route.query.__name__]["properties"].items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}
