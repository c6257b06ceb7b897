#!/usr/bin/env python3
"""Makes real logs: each case runs a real tool twice or more where it passes and once where it fails.

    make.py FOLDER [CASE...]

writes FOLDER/CASE/{passed-1,passed-2,failed}.txt and FOLDER/CASE/want, a part of the line that says what is wrong."""
import os, random, re, shutil, subprocess, sys, tempfile

CASES = {}
def case(name, want, run, files, broken, setup=""):
    CASES[name] = (want, run, files, broken, setup)

def mods(n, ext, body):
    return {f"src/m{i}.{ext}": body.format(i=i) for i in range(n)}

# ---- Rust
cargo = '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2024"\n'
def rust(extra, n=12):
    f = {"Cargo.toml": cargo, "src/lib.rs": "".join(f"pub mod m{i};\n" for i in range(n))}
    f.update(mods(n, "rs", "/// Adds.\npub fn add(a: u64) -> u64 {{\n    a + {i}\n}}\n#[cfg(test)]\nmod tests {{\n    #[test]\n    fn adds() {{\n        println!(\"at {i}\");\n        assert_eq!(super::add(1), 1 + {i});\n    }}\n}}\n"))
    f.update(extra)
    return f
case("rust-type", "mismatched types", "cargo build --color never && cargo test --color never", rust({}), {"src/m3.rs": "pub fn add(a: u64) -> u64 {\n    let b: String = a;\n    a\n}\n"})
case("rust-borrow", "E0502", "cargo build --color always", rust({}), {"src/m5.rs": "pub fn add(a: u64) -> u64 {\n    let mut v = vec![a];\n    let first = &v[0];\n    v.push(3);\n    *first\n}\n"})
case("rust-test", "left: 8|assertion `left == right` failed|panicked at", "cargo test --color never", rust({}), {"src/m7.rs": "pub fn add(a: u64) -> u64 {\n    a + 8\n}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() {\n        assert_eq!(super::add(0), 7);\n    }\n}\n"})
case("rust-unwrap", "called `Result::unwrap\\(\\)` on an `Err` value", "cargo test --color never", rust({}), {"src/m2.rs": "pub fn add(a: u64) -> u64 {\n    a + std::fs::read_to_string(\"/nowhere\").unwrap().len() as u64\n}\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn adds() {\n        super::add(0);\n    }\n}\n"})
case("rust-clippy", "needless|len_zero|length comparison", "cargo clippy --color never -- -D warnings", rust({"src/m0.rs": "/// Adds.\npub fn add(a: u64) -> u64 {\n    a + 9\n}\n"}), {"src/m4.rs": "pub fn add(a: &[u64]) -> bool {\n    a.len() == 0\n}\n"})
case("rust-fmt", "Diff in", "cargo fmt --check && echo formatted", rust({"src/m1.rs": "pub fn add(a: u64) -> u64 {\n    a\n}\n"}), {"src/m1.rs": "pub fn add(a:u64)->u64{a}\n"}, "cargo fmt")
case("rust-crate", "unresolved import|unlinked crate|E0432|E0433", "cargo build --color never", rust({}), {"src/m6.rs": "use serde::Serialize;\npub fn add(a: u64) -> u64 {\n    a\n}\n"})
# ---- C and C++
def c(extra, n=10, flags="-Wall -O1"):
    mk = f"OBJ = main.o " + " ".join(f"src/m{i}.o" for i in range(n)) + f"\nCFLAGS = {flags}\nall: app\n\t./app\napp: $(OBJ)\n\t$(CC) -o $@ $(OBJ)\n"
    f = {"Makefile": mk, "main.c": "#include <stdio.h>\n" + "".join(f"int m{i}(int);\n" for i in range(n)) + "int main(void) {\n" + "".join(f'  printf("module {i} gives %d\\n", m{i}(1));\n' for i in range(n)) + "  return 0;\n}\n"}
    f.update(mods(n, "c", "int m{i}(int a) {{ return a + {i}; }}\n"))
    f.update(extra)
    return f
case("c-syntax", "expected .;.", "make -j2", c({}), {"src/m3.c": "int m3(int a) { return a + 3 }\n"})
case("c-link", "undefined reference", "make", c({}), {"src/m4.c": "int helper(int);\nint m4(int a) { return helper(a); }\n"})
case("c-header", "No such file or directory", "make -k", c({}), {"src/m5.c": "#include <zstd_nowhere.h>\nint m5(int a) { return a; }\n"})
case("c-segfault", "Segmentation fault", "make", c({}), {"src/m6.c": "int m6(int a) { volatile int *p = 0; return *p + a; }\n"})
case("c-assert", "Assertion", "make", c({}), {"src/m2.c": "#include <assert.h>\nint m2(int a) { assert(a == 2 && \"needs two\"); return a; }\n"})
case("c-werror", "unused variable", "make", c({}, flags="-Wall -Werror"), {"src/m8.c": "int m8(int a) { int unused; return a; }\n"})
case("cpp-template", "no matching function|no match for", "g++ -std=c++17 -Wall -c a.cpp && echo built a && g++ -std=c++17 -c b.cpp && echo built b && echo done", {"a.cpp": "#include <vector>\nint f() { return std::vector<int>{1,2}.size(); }\n", "b.cpp": "#include <map>\n#include <string>\nint g() { std::map<std::string,int> m; m[\"a\"]=1; return m.size(); }\n"}, {"b.cpp": "#include <algorithm>\n#include <vector>\nstruct P { int x; };\nint g() { std::vector<P> v{{2},{1}}; std::sort(v.begin(), v.end()); return v[0].x; }\n"})
case("c-sanitizer", "heap-buffer-overflow", "gcc -g -fsanitize=address -o t t.c && for i in 1 2 3; do echo round $i; ./t $i; done", {"t.c": "#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char **v) { int *p = malloc(16); p[3] = atoi(v[1]); printf(\"kept %d\\n\", p[3]); free(p); return 0; }\n"}, {"t.c": "#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char **v) { int *p = malloc(16); p[4] = atoi(v[1]); printf(\"kept %d\\n\", p[4]); free(p); return 0; }\n"})
# ---- Python
def py(extra, n=12):
    f = {f"tests/test_m{i}.py": f"from app import m{i}\n\n\ndef test_adds():\n    assert m{i}.add(1) == 1 + {i}\n\n\ndef test_zero():\n    assert m{i}.add(0) == {i}\n" for i in range(n)}
    f.update({f"app/m{i}.py": f"def add(a):\n    return a + {i}\n" for i in range(n)})
    f["app/__init__.py"] = ""
    f["tests/__init__.py"] = ""
    f["run.py"] = "import logging, random, time\nlogging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(name)s: %(message)s')\nfrom app import " + ", ".join(f"m{i}" for i in range(n)) + "\nfor m in [" + ", ".join(f"m{i}" for i in range(n)) + "]:\n    logging.info('module %s took %.3f s and gave %d', m.__name__, random.random(), m.add(2))\nlogging.info('all done')\n"
    f.update(extra)
    return f
case("py-pytest", "assert 8 == |AssertionError|assert .* == 1 \\+ 7|assert 9 == ", "python3 -m pytest -v -p no:cacheprovider", py({}), {"app/m7.py": "def add(a):\n    return a + 8\n"})
case("py-fixture", "fixture 'database' not found", "python3 -m pytest -p no:cacheprovider", py({}), {"tests/test_m3.py": "def test_adds(database):\n    assert database\n"})
case("py-import", "ModuleNotFoundError|No module named", "python3 -m pytest -q -p no:cacheprovider", py({}), {"app/m4.py": "import nowhere_yaml\n\n\ndef add(a):\n    return a + 4\n"})
case("py-key", "KeyError", "python3 run.py", py({}), {"app/m9.py": "TABLE = {1: 10}\n\n\ndef add(a):\n    return TABLE[a]\n"})
case("py-unittest", "AssertionError: 5 != 4|AssertionError", "python3 -m unittest -v", {f"test_{n}.py": f"import unittest\n\n\nclass {n.title()}(unittest.TestCase):\n" + "".join(f"    def test_{i}(self):\n        self.assertEqual({i} + 1, {i + 1})\n\n" for i in range(9)) for n in ["apple", "pear", "plum"]}, {"test_pear.py": "import unittest\n\n\nclass Pear(unittest.TestCase):\n    def test_3(self):\n        self.assertEqual(2 + 3, 4)\n"})
case("py-syntax", "SyntaxError|was never closed", "python3 -m compileall . && python3 run.py", py({}), {"app/m2.py": "def add(a):\n    return (a + 2\n"})
case("py-pip", "No matching distribution|Could not find a version", "python3 -m pip install --disable-pip-version-check --target lib -r requirements.txt", {"requirements.txt": "six\nidna\ntoml\n"}, {"requirements.txt": "six\nidna\ntoml==99.1\n"})
case("py-mypy", "Incompatible return value|Argument 1", "python3 -m mypy --no-incremental app run.py", {"app/__init__.py": "", "run.py": "from app import a\n\nprint(a.f(1))\n", "app/a.py": "def f(x: int) -> int:\n    return x\n"}, {"app/a.py": "def f(x: int) -> int:\n    return str(x)\n"})
case("py-timeout", "TimeoutError|Timeout", "python3 -u wait.py", {"wait.py": "import socket, sys, threading, time\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\nprint('listening on', s.getsockname()[1])\nfor i in range(5):\n    c = socket.create_connection(s.getsockname(), 1); p, _ = s.accept(); p.send(b'x')\n    c.settimeout(0.3); print('answer', i, c.recv(1))\nprint('done')\n"}, {"wait.py": "import socket, sys, threading, time\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\nprint('listening on', s.getsockname()[1])\nfor i in range(5):\n    c = socket.create_connection(s.getsockname(), 1); p, _ = s.accept()\n    if i < 3: p.send(b'x')\n    c.settimeout(0.3); print('answer', i, c.recv(1))\nprint('done')\n"})
# ---- Node
def node(extra):
    f = {"package.json": '{"name": "app", "version": "1.0.0", "scripts": {"test": "node --test", "build": "node build.js"}}\n'}
    f.update({f"m{i}.js": f"exports.add = (a) => a + {i};\n" for i in range(8)})
    f.update({f"test/m{i}.test.js": f"const test = require('node:test');\nconst assert = require('node:assert');\nconst m = require('../m{i}');\ntest('m{i} adds', () => assert.strictEqual(m.add(1), 1 + {i}));\ntest('m{i} is quick', () => {{ for (let i = 0; i < 1e5; i++) m.add(i); }});\n" for i in range(8)})
    f["build.js"] = "for (let i = 0; i < 8; i++) { const t = Date.now(); const m = require('./m' + i); console.log(`bundled m${i}.js ${(m.add(i) * 1000) | 0} bytes in ${Date.now() - t} ms`); }\nconsole.log('build finished');\n"
    f.update(extra)
    return f
case("js-test", "Expected values to be strictly equal|ERR_ASSERTION|not ok .* adds|6 !== 5", "npm test", node({}), {"m4.js": "exports.add = (a) => a + 5;\n"})
case("js-syntax", "SyntaxError", "npm run build", node({}), {"m6.js": "exports.add = (a) => { return a + 6;\n"})
case("js-undefined", "TypeError|Cannot read properties", "npm run build", node({}), {"m3.js": "const conf = {};\nexports.add = (a) => a + conf.limits.max;\n"})
case("js-module", "Cannot find module", "npm run build", node({}), {"m5.js": "const x = require('left-pad-nowhere');\nexports.add = (a) => x(a);\n"})
case("js-script", "Missing script", "npm run build && npm run check", node({"package.json": '{"name": "app", "version": "1.0.0", "scripts": {"build": "node build.js", "check": "echo checked"}}\n'}), {"package.json": '{"name": "app", "version": "1.0.0", "scripts": {"build": "node build.js"}}\n'})
case("js-npm404", "404|is not in this registry|notarget|No matching version", "npm install --no-audit --no-fund && npm run build", node({"package.json": '{"name": "app", "version": "1.0.0", "dependencies": {"is-odd": "3.0.1"}, "scripts": {"build": "node build.js"}}\n'}), {"package.json": '{"name": "app", "version": "1.0.0", "dependencies": {"is-odd": "93.0.1"}, "scripts": {"build": "node build.js"}}\n'})
case("js-tsc", "TS2322|not assignable", "npx --yes --package typescript@5 tsc --noEmit --listFiles false --strict a.ts b.ts && echo types are right", {"a.ts": "export const n: number = 1;\n", "b.ts": "import { n } from './a';\nexport const m: number = n + 1;\n"}, {"b.ts": "import { n } from './a';\nexport const m: string = n + 1;\n"})
# ---- Java
case("java-compile", "cannot find symbol|incompatible types", "for f in *.java; do echo compiling $f; done; javac -d out *.java && java -cp out Main", {"Main.java": "public class Main { public static void main(String[] a) { for (int i = 0; i < 5; i++) System.out.println(\"item \" + i + \" \" + Other.of(i)); } }\n", "Other.java": "class Other { static int of(int i) { return i * 2; } }\n"}, {"Other.java": "class Other { static int of(int i) { return \"\" + i; } }\n"})
case("java-npe", "NullPointerException", "javac -d out *.java && java -cp out Main", {"Main.java": "public class Main { public static void main(String[] a) { for (int i = 0; i < 9; i++) System.out.println(java.time.LocalTime.now() + \" INFO item \" + i + \" \" + Other.of(i)); } }\n", "Other.java": "class Other { static int of(int i) { return (\"x\" + i).length(); } }\n"}, {"Other.java": "class Other { static int of(int i) { String s = i < 4 ? \"x\" : null; return s.length(); } }\n"})
# ---- Shell and tools
case("sh-notfound", "not found", "sh -ex build.sh", {"build.sh": "echo preparing\nmkdir -p out\nfor i in 1 2 3 4 5; do echo file $i > out/$i; done\nls out | wc -l\necho packaged\n"}, {"build.sh": "echo preparing\nmkdir -p out\nfor i in 1 2 3 4 5; do echo file $i > out/$i; done\nenvsubstx out/1\necho packaged\n"})
case("sh-diff", "^[-+].*world|differ", "sh -e t.sh", {"t.sh": "for i in 1 2 3 4 5 6; do echo case $i; printf 'hello\\nworld\\n' > got; printf 'hello\\nworld\\n' > want; diff -u want got; done\necho ok\n"}, {"t.sh": "for i in 1 2 3 4 5 6; do echo case $i; printf 'hello\\nworld\\n' > got; [ $i = 5 ] && printf 'hello\\nwurld\\n' > got; printf 'hello\\nworld\\n' > want; diff -u want got; done\necho ok\n"})
case("sh-refused", "Connection refused|Failed to connect|Could not connect", "sh -ex t.sh", {"t.sh": "echo deploying\necho health check\ntrue curl -sSf http://127.0.0.1:9/health\necho deployed\n"}, {"t.sh": "echo deploying\necho health check\ncurl -sSf http://127.0.0.1:9/health\necho deployed\n"})
case("sh-denied", "Permission denied", "sh -e t.sh", {"t.sh": "for i in 1 2 3; do echo step $i of 3; done\nchmod +x tool; ./tool\necho done\n", "tool": "#!/bin/sh\necho tool runs\n"}, {"t.sh": "for i in 1 2 3; do echo step $i of 3; done\nchmod -x tool; ./tool\necho done\n"})
case("sh-apt", "Unable to locate package", "apt-get install -y --no-install-recommends --reinstall -o Debug::NoLocking=1 --simulate $(cat packages)", {"packages": "hello make\n"}, {"packages": "hello make libnowhere-dev\n"})
case("sh-tar", "Cannot open|Cannot stat|not found in archive", "sh -e t.sh", {"t.sh": "mkdir -p a; for i in 1 2 3 4; do date > a/$i; done\ntar cvf out.tar a/1 a/2 a/3\ntar tvf out.tar\necho packed\n"}, {"t.sh": "mkdir -p a; for i in 1 2 3 4; do date > a/$i; done\ntar cvf out.tar a/1 a/2 a/33\ntar tvf out.tar\necho packed\n"})
case("sh-merge", "CONFLICT", "sh -e t.sh", {"t.sh": "rm -rf r; git init -q -b main r; cd r; git config user.email a@b.c; git config user.name n\necho a > f; git add f; git commit -qm one; git checkout -qb topic; echo b > g; git add g; git commit -qm two\ngit checkout -q main; echo c > h; git add h; git commit -qm three; git merge --no-edit topic; git log --oneline\n"}, {"t.sh": "rm -rf r; git init -q -b main r; cd r; git config user.email a@b.c; git config user.name n\necho a > f; git add f; git commit -qm one; git checkout -qb topic; echo b > f; git add f; git commit -qm two\ngit checkout -q main; echo c > f; git add f; git commit -qm three; git merge --no-edit topic; git log --oneline\n"})
case("sh-full", "No space left", "sh -e t.sh", {"t.sh": "for i in 1 2 3; do dd if=/dev/zero of=f$i bs=1k count=9; done\necho written\n"}, {"t.sh": "for i in 1 2; do dd if=/dev/zero of=f$i bs=1k count=9; done\ndd if=/dev/zero of=/dev/full bs=1k count=9\necho written\n"})
case("sh-sqlite", "no such column", "sh -e t.sh", {"t.sh": "for i in 1 2 3; do echo migration $i; sqlite3 db 'create table if not exists t (a, b); insert into t values (1, 2)'; done; sqlite3 db 'select count(*), sum(b) from t'\n"}, {"t.sh": "for i in 1 2 3; do echo migration $i; sqlite3 db 'create table if not exists t (a, b); insert into t values (1, 2)'; done; sqlite3 db 'select count(*), sum(c) from t'\n"})
case("sh-check", "SC2086|Double quote|SC2154", "shellcheck *.sh && echo all scripts are right", {"a.sh": "#!/bin/sh\necho \"$1\"\n", "b.sh": "#!/bin/sh\nrm -f \"$1\"\n"}, {"b.sh": "#!/bin/sh\nrm -f $1\n"})
case("perl-prove", "Failed test|got: ", "prove -v t", {f"t/{n}.t": "use Test::More tests => 6;\nfor my $i (1..6) { is($i * 2, $i + $i, \"doubles $i\"); }\n" for n in ["one", "two", "three"]}, {"t/two.t": "use Test::More tests => 6;\nfor my $i (1..6) { is($i * 2, $i == 4 ? 9 : $i + $i, \"doubles $i\"); }\n"})
case("perl-die", "Can't locate", "perl run.pl", {"run.pl": "use strict; use warnings;\nfor my $i (1..20) { printf \"row %d %.2f\\n\", $i, rand; }\nprint \"done\\n\";\n"}, {"run.pl": "use strict; use warnings;\nfor my $i (1..20) { printf \"row %d %.2f\\n\", $i, rand; }\nrequire Nowhere::Module;\nprint \"done\\n\";\n"})
# ---- Go
def go(extra, n=8):
    f = {"go.mod": "module app\n\ngo 1.19\n"}
    f.update({f"m{i}/m.go": f"package m{i}\n\nfunc Add(a int) int {{ return a + {i} }}\n" for i in range(n)})
    f.update({f"m{i}/m_test.go": f"package m{i}\n\nimport \"testing\"\n\nfunc TestAdd(t *testing.T) {{\n\tif got := Add(1); got != 1+{i} {{\n\t\tt.Fatalf(\"Add(1) = %d\", got)\n\t}}\n}}\n" for i in range(n)})
    f.update(extra)
    return f
case("go-build", "undefined: |undeclared name", "go vet ./... && go build ./... && go test ./...", go({}), {"m3/m.go": "package m3\n\nfunc Add(a int) int { return a + offset }\n"})
case("go-test", "Add\\(1\\) = 7", "go test -v ./...", go({}), {"m5/m.go": "package m5\n\nfunc Add(a int) int { return a + 6 }\n"})
case("go-panic", "index out of range", "go test ./...", go({}), {"m2/m.go": "package m2\n\nvar table = []int{1}\n\nfunc Add(a int) int { return table[a] }\n"})
case("go-deadlock", "all goroutines are asleep", "go run ./cmd", go({"cmd/main.go": "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tc := make(chan int, 1)\n\tfor i := 0; i < 5; i++ {\n\t\tc <- i\n\t\tfmt.Println(\"got\", <-c)\n\t}\n}\n"}), {"cmd/main.go": "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tc := make(chan int)\n\tfor i := 0; i < 5; i++ {\n\t\tc <- i\n\t\tfmt.Println(\"got\", <-c)\n\t}\n}\n"})
# ---- CMake
case("cmake-find", "Could not find a package|Could NOT find", "cmake -S . -B b && cmake --build b", {"CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(app C)\nfind_package(Threads REQUIRED)\nadd_executable(app main.c)\ntarget_link_libraries(app Threads::Threads)\n", "main.c": "int main(void) { return 0; }\n"}, {"CMakeLists.txt": "cmake_minimum_required(VERSION 3.10)\nproject(app C)\nfind_package(Threads REQUIRED)\nfind_package(Nowhere 2.0 REQUIRED)\nadd_executable(app main.c)\n"})

# ---- More than one thing is new
case("mix-pip-test", "assert .* == 1 \\+ 7|AssertionError", "python3 -m pip install --disable-pip-version-check --target lib -r requirements.txt && python3 -m pytest -v -p no:cacheprovider tests", py({"requirements.txt": "six\nidna\n"}), {"requirements.txt": "six\nidna\ntoml\ncertifi\n", "app/m7.py": "def add(a):\n    return a + 8\n", "tests/test_new.py": "import warnings\n\n\ndef test_one():\n    warnings.warn('old error handling is deprecated', DeprecationWarning)\n\n\ndef test_two():\n    pass\n"})
case("mix-c-warnings", "error: .*m5|too few arguments|conflicting types", "make -k -j2", c({}), {"src/m1.c": "int m1(int a) { int left; return a; }\nstatic int unused(void) { return 1; }\n", "src/m2.c": "#include <stdio.h>\nint m2(int a) { printf(\"%s\", a); return a; }\n", "src/m3.c": "int m3(int a) { if (a = 1) return 2; return a; }\n", "src/m5.c": "int twice(int a, int b);\nint m5(int a) { return twice(a); }\n"})
case("mix-app-log", "ERROR .*orders.* rejected|ValueError: order", "python3 serve.py", {"serve.py": "import logging, random\nlogging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(name)s: %(message)s')\nwords = open('words').read().split()\nfor i in range(400):\n    logging.getLogger(random.choice(['http', 'db', 'cache'])).info('%s %s in %d ms', random.choice(words), random.choice(words), i)\n    if i % 50 == 7: logging.getLogger('http').error('client went away: connection reset by peer')\nlogging.info('all checks passed')\n", "words": "get put list find error_page failed_jobs report user order item\n"}, {"serve.py": "import logging, random\nlogging.basicConfig(level=logging.INFO, format='%(asctime)s %(levelname)s %(name)s: %(message)s')\nwords = open('words').read().split()\nfor i in range(400):\n    logging.getLogger(random.choice(['http', 'db', 'cache', 'audit'])).info('%s %s in %d ms', random.choice(words), random.choice(words), i)\n    if i % 50 == 7: logging.getLogger('http').error('client went away: connection reset by peer')\n    if i == 333:\n        raise ValueError('order %d has no items' % i)\n"})
case("mix-js-new-tests", "strictly equal|not ok .* m4 adds|ERR_ASSERTION", "npm run build && npm test", node({}), {"m4.js": "exports.add = (a) => a + 5;\n", **{f"test/n{i}.test.js": f"const test = require('node:test');\ntest('new error case {chr(97+i)}', () => {{ console.log('handles failure {chr(97+i)}'); }});\n" for i in range(6)}})
case("mix-rust-warnings", "E0425|cannot find value", "cargo build --color never && cargo test --color never", rust({}), {"src/m1.rs": "pub fn add(a: u64) -> u64 {\n    let b = 3;\n    a + 1\n}\nfn unused() {}\n", "src/m2.rs": "use std::collections::HashMap;\npub fn add(a: u64) -> u64 {\n    a\n}\n", "src/m9.rs": "pub fn add(a: u64) -> u64 {\n    a + ofset\n}\n"})
case("mix-go", "Add\\(1\\) = 7", "go vet ./... && go test -v ./...", go({}), {"m5/m.go": "package m5\n\nfunc Add(a int) int { return a + 6 }\n", "m1/n_test.go": "package m1\n\nimport \"testing\"\n\nfunc TestErrorPath(t *testing.T) {\n\tt.Log(\"error path is taken\")\n}\n\nfunc TestFailureMode(t *testing.T) {\n\tt.Log(\"failure mode is known\")\n}\n"})
case("mix-sh-steps", "cp: cannot stat", "sh -ex t.sh", {"t.sh": "for f in a b c; do echo packing $f; echo x > $f; done\nmkdir -p out\ncp a b c out\necho ok\n"}, {"t.sh": "for f in a b c d e; do echo packing $f; [ $f = d ] || echo x > $f; echo \"hint: $f has no error handler\"; done\nmkdir -p out\nmkdir -p out/errors\ncp a b c d e out\necho ok\n"})
case("mix-retry", "curl: \\(7\\)|Failed to connect", "sh -e t.sh", {"t.sh": "for i in 1 2 3; do echo \"attempt $i: error: not ready, trying again\"; done\necho ready\necho deployed version 12\n"}, {"t.sh": "for i in 1 2 3; do echo \"attempt $i: error: not ready, trying again\"; done\necho ready\necho deployed version 13\necho running migrations of orders\necho running migrations of users\ncurl -sSf http://127.0.0.1:9/smoke\n"})

def write(folder, files):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

def run(command, files, setup):
    folder = "/tmp/app"
    shutil.rmtree(folder, ignore_errors=True)
    write(folder, files)
    env = dict(os.environ, HOME=os.environ["HOME"], CI="true", LC_ALL="C.UTF-8", CARGO_TARGET_DIR=folder + "/target", GOFLAGS="-mod=mod", NO_UPDATE_NOTIFIER="1", PYTHONDONTWRITEBYTECODE="1")
    if setup:
        subprocess.run(["sh", "-ec", setup], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done = subprocess.run(["bash", "-ec", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = done.stdout
    home = os.environ["HOME"].encode()
    return done.returncode, b"$ " + command.encode() + b"\n" + out.replace(home, b"/home/dev")

def main():
    to = sys.argv[1]
    for name in sys.argv[2:] or CASES:
        want, command, files, broken, setup = CASES[name]
        folder = os.path.join(to, name)
        logs = {}
        code = 0
        for i in (1, 2):
            code, logs[f"passed-{i}.txt"] = run(command, files, setup)
            if code != 0: break
        if code != 0:
            print(f"{name}: does not pass: {logs['passed-1.txt'][-300:]!r}"); continue
        code, logs["failed.txt"] = run(command, {**files, **broken}, "")
        if code == 0:
            print(f"{name}: does not fail"); continue
        text = logs["failed.txt"].decode(errors="replace")
        hits = [l for l in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()[1:] if re.search(want, l)]
        print(f"{name}: {code}, {len(text.splitlines())} lines, {len(hits)} hits {hits[:1]}")
        if not hits: continue
        os.makedirs(folder, exist_ok=True)
        for file, data in logs.items():
            with open(os.path.join(folder, file), "wb") as f: f.write(data)
        with open(os.path.join(folder, "want"), "w") as f: f.write(want + "\n")
main()
