//! Who may do what: the whole table without a token, roles, scopes, sessions.

use ocelot_model::access::Role;
use ocelot_server::http::Right;
use ocelot_server::http::describe::openapi;
use ocelot_server::http::router::table;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::room::{Room, SMALL, answer};

fn path_of(route: &str) -> String {
    let path = route.replace("{number}", "1").replace("{id}", "1").replace("{*handle}", "git/example");
    let path = path.replace("{forge}", "git").replace("{hook}", "x");
    path.replace("{secret}", "x").replace("{name}", "x")
}

#[tokio::test]
async fn nothing_is_open_by_accident() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    room.build("example").await;
    for route in table() {
        let path = path_of(route.path);
        let (status, body) = answer(room.plain(route.method.clone(), &path)).await;
        match route.right {
            Right::Repo | Right::SignedIn | Right::Whole(_) => {
                assert_eq!(status, StatusCode::UNAUTHORIZED, "{} {path}: {body}", route.method);
                assert_eq!(body["code"], "unauthorized", "{} {path}", route.method);
            }
            // What is not signed, or for a webhook that is not there.
            Right::Signature => assert_eq!(status, StatusCode::NOT_FOUND, "{} {path}: {body}", route.method),
            Right::Page => assert!(
                status == StatusCode::SEE_OTHER || status == StatusCode::NOT_FOUND,
                "{} {path}: {status}",
                route.method
            ),
            Right::Public | Right::SignIn => {
                let open = [
                    "/healthz",
                    "/readyz",
                    "/api/openapi.json",
                    "/login",
                    "/login/link/{secret}",
                    "/logout",
                    "/assets/{name}",
                    "/badges/{*handle}",
                ];
                assert!(open.contains(&route.path), "{} is open", route.path);
            }
        }
    }
}

#[tokio::test]
async fn every_route_of_the_interface_is_described() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = std::collections::HashSet::new();
    for route in table().into_iter().filter(ocelot_server::http::router::Route::is_api) {
        let path = route.path.replace("{*", "{");
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][&path][&method];
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        let security = operation["security"].as_array().unwrap();
        let open = security.contains(&json!({}));
        let may_be_open = matches!(route.right, Right::Public | Right::Signature)
            || (route.right == Right::Repo && method == "get");
        assert_eq!(open, may_be_open, "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|code| code.starts_with('2')), "{method} {path}");
        for (code, response) in responses {
            let words = response["description"].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{method} {path} {code} has no description");
            // What is as it was has no body.
            if !code.starts_with('2') && code != "304" {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {code}");
            }
        }
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let parameters = operation["parameters"].as_array().unwrap();
            assert!(parameters.iter().any(|own| own["name"] == name && own["in"] == "path"), "{path}");
        }
    }
    check_references(&document, &document);
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["session", "token"]);
}

/// Every reference leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(name)) = fields.get("$ref") {
                let path = name.strip_prefix('#').unwrap();
                assert!(document.pointer(path).is_some(), "{name} is not there");
            }
            fields.values().for_each(|part| check_references(document, part));
        }
        Value::Array(parts) => parts.iter().for_each(|part| check_references(document, part)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn roles() {
    let room = Room::new().await;
    room.known("example", SMALL).await;
    room.known("gone", SMALL).await;
    let number = room.build("example").await;
    for (role, want) in [
        (Role::Read, [200, 403, 403, 200, 403, 403]),
        (Role::Write, [200, 200, 403, 200, 403, 403]),
        (Role::Admin, [200, 200, 201, 200, 200, 204]),
        (Role::Metrics, [404, 404, 403, 403, 200, 404]),
        (Role::Worker, [404, 404, 403, 403, 403, 404]),
    ] {
        let token = room.token(role, &[]).await;
        let requests = [
            room.plain(Method::GET, &format!("/api/v1/builds/{number}")),
            room.plain(Method::POST, &format!("/api/v1/builds/{number}/cancel")),
            room.plain(Method::POST, "/api/v1/tokens").json(&json!({"name": "x", "role": "read"})),
            room.plain(Method::GET, "/api/v1/queue"),
            room.plain(Method::GET, "/metrics"),
            room.plain(Method::DELETE, "/api/v1/repos/git/gone"),
        ];
        let mut got = Vec::new();
        for request in requests {
            got.push(answer(request.bearer_auth(&token)).await.0.as_u16());
        }
        assert_eq!(got, want, "{role}");
    }
}

#[tokio::test]
async fn what_one_may_not_see_looks_as_if_it_were_missing() {
    let room = Room::new().await;
    room.known("secret", SMALL).await;
    room.known("open", SMALL).await;
    let hidden = room.build("secret").await;
    let seen = room.build("open").await;
    let token = room.token(Role::Write, &["git/open"]).await;
    let ask = |method: Method, path: String| answer(room.plain(method, &path).bearer_auth(&token));
    let (_, missing) = ask(Method::GET, "/api/v1/builds/999".to_owned()).await;
    for path in ["", "/log", "/events"] {
        let (status, body) = ask(Method::GET, format!("/api/v1/builds/{hidden}{path}")).await;
        assert_eq!((status, &body), (StatusCode::NOT_FOUND, &missing), "{path}");
    }
    for (method, path) in
        [(Method::GET, "/api/v1/repos/git/secret"), (Method::DELETE, "/api/v1/repos/git/secret")]
    {
        assert_eq!(ask(method, path.to_owned()).await, (StatusCode::NOT_FOUND, missing.clone()));
    }
    let (_, list) = ask(Method::GET, "/api/v1/builds".to_owned()).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["number"], seen.0);
    let (_, repos) = ask(Method::GET, "/api/v1/repos".to_owned()).await;
    assert_eq!(repos["items"].as_array().unwrap().len(), 1);
    let (_, queue) = ask(Method::GET, "/api/v1/queue".to_owned()).await;
    let rows = queue["items"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["repo"], &rows[0]["build"]), (&json!("another repo's job"), &Value::Null));
    assert_eq!(rows[1]["reason"], "no worker is connected");
    let (_, none) = ask(Method::GET, "/api/v1/queue?build=999".to_owned()).await;
    assert_eq!(ask(Method::GET, format!("/api/v1/queue?build={hidden}")).await, (StatusCode::OK, none));
}

#[tokio::test]
async fn what_is_public_needs_no_token() {
    let room = Room::new().await;
    let path = room.repository("free", &[("ocelot.yml", SMALL)]);
    let (status, _) = room.post("/api/v1/repos", &json!({"clone_url": path, "public": true})).await;
    assert_eq!(status, StatusCode::CREATED);
    let number = room.build("free").await;
    room.known("closed", SMALL).await;
    room.build("closed").await;
    let (status, list) = answer(room.plain(Method::GET, "/api/v1/builds")).await;
    assert_eq!((status, list["items"].as_array().unwrap().len()), (StatusCode::OK, 1));
    let (status, _) = answer(room.plain(Method::GET, &format!("/api/v1/builds/{number}"))).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = answer(room.plain(Method::POST, &format!("/api/v1/builds/{number}/cancel"))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let change = room.request(Method::PATCH, "/api/v1/repos/git/free").json(&json!({"public": false}));
    let (status, repo) = answer(change).await;
    assert_eq!(
        (status, &repo["public"], &repo["approvals"]),
        (StatusCode::OK, &json!(false), &json!("forks"))
    );
    let (status, list) = answer(room.plain(Method::GET, "/api/v1/builds")).await;
    assert_eq!((status, list["items"].as_array().map_or(0, Vec::len)), (StatusCode::UNAUTHORIZED, 0));
    let (status, _) = answer(room.plain(Method::GET, &format!("/api/v1/builds/{number}"))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn signing_in_and_out() {
    let room = Room::new().await;
    let form = |token: &str, next: &str| {
        room.plain(Method::POST, "/login")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}&redirect={next}"))
            .send()
    };
    let wrong = form("ocl_wrong", "/builds/1").await.unwrap();
    assert_eq!(wrong.headers()["location"], "/login?failed=token&redirect=%2Fbuilds%2F1");
    assert!(!wrong.headers().contains_key("set-cookie"));
    let right = form(&room.admin, "//evil").await.unwrap();
    assert_eq!(
        (right.status(), &right.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/".parse().unwrap())
    );
    let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let whoami = || room.plain(Method::GET, "/api/v1/whoami").header("cookie", &cookie);
    let (status, me) = answer(whoami()).await;
    assert_eq!((status, &me["name"]), (StatusCode::OK, &json!("root")));
    let change = || room.plain(Method::POST, "/api/v1/tokens").header("cookie", &cookie);
    let token = json!({"name": "x", "role": "read"});
    for origin in ["null", "https://evil.example"] {
        let (status, _) = answer(change().header("origin", origin).json(&token)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{origin}");
    }
    let (status, body) = answer(change().header("origin", &room.url).json(&token)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    room.plain(Method::POST, "/logout").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(answer(whoami()).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_link_signs_in_once_and_looking_at_it_does_not() {
    let room = Room::new().await;
    let root = room.app.store.find_token(&room.admin).await.unwrap().unwrap();
    let secret =
        room.app.store.create_sign_in_link(root.id, std::time::Duration::from_mins(1)).await.unwrap();
    let path = format!("/login/link/{secret}");
    for method in [Method::HEAD, Method::GET, Method::GET] {
        let look = room.plain(method, &path).send().await.unwrap();
        assert_eq!(look.status(), StatusCode::OK);
        assert!(!look.headers().contains_key("set-cookie"));
    }
    let foreign =
        room.plain(Method::POST, &path).header("origin", "https://evil.example").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    let press = || room.plain(Method::POST, &path).send();
    let signed = press().await.unwrap();
    assert_eq!(signed.headers()["location"], "/");
    let cookie = signed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (_, me) = answer(room.plain(Method::GET, "/api/v1/whoami").header("cookie", cookie)).await;
    assert_eq!(me["name"], "root");
    assert_eq!(press().await.unwrap().headers()["location"], "/login?failed=link");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let room = Room::new().await;
    let (_, list) = room.get("/api/v1/tokens").await;
    let path = format!("/api/v1/tokens/{}", list["items"][0]["id"]);
    let (status, body) = answer(room.request(Method::DELETE, &path)).await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("conflict")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("last token with role admin"), "{body}");
}

#[tokio::test]
async fn too_many_sign_ins_wait() {
    let room = Room::new().await;
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = answer(room.plain(Method::POST, "/login").json(&json!({"token": "ocl_wrong"}))).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    let page = room
        .plain(Method::POST, "/login")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("token=ocl_wrong");
    let page = page.send().await.unwrap();
    assert_eq!(page.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers().contains_key("retry-after"));
    assert!(page.text().await.unwrap().contains("<input id=\"token\""), "it is no page");
}

#[tokio::test]
async fn who_signs_in_well_is_not_counted() {
    let room = Room::new().await;
    for _ in 0..20 {
        let (status, body) =
            answer(room.plain(Method::POST, "/login").json(&json!({"token": room.admin}))).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }
}

#[tokio::test]
async fn a_button_that_one_may_not_press_says_so() {
    let room = Room::new().await;
    room.known("a", SMALL).await;
    let number = room.build("a").await;
    let path = format!("/builds/{number}/cancel");
    let press = async |token: &str| {
        let response = room.plain(Method::POST, &path).bearer_auth(token).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    let (status, page) = press(&room.token(Role::Read, &[]).await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(page.contains("role write or admin"), "{page}");
    let (status, _) = press(&room.token(Role::Write, &["git/other"]).await).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "what one may not see does not exist");
    let (status, _) = press(&room.token(Role::Write, &[]).await).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let room = Room::new().await;
    let (status, made) =
        room.post("/api/v1/tokens", &json!({"name": "laptop", "role": "read", "repos": ["git/"]})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    let me = || answer(room.plain(Method::GET, "/api/v1/whoami").bearer_auth(&secret));
    assert_eq!(me().await.1["repos"], json!(["git/"]));
    let (status, _) = answer(room.request(Method::DELETE, &format!("/api/v1/tokens/{}", made["id"]))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(me().await.0, StatusCode::UNAUTHORIZED);
}
