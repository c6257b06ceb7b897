# A mail server for tests: python3-aiosmtpd. It ends when its standard input does.
import asyncio, base64, json, os, ssl, sys, threading
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

mode, cert, key, box, address_file = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, key)
soon = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        # Once, as those do who make strangers wait.
        if address.startswith("later@") or (address.startswith("soon@") and address not in soon):
            soon.add(address)
            return "451 4.2.1 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        encrypted = session.ssl is not None or mode == "smtps"
        mail = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "encrypted": encrypted,
                "user": (session.auth_data.login.decode() if session.auth_data else None),
                "text": envelope.content.decode("utf-8", "replace")}
        with open(box, "a") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 2.0.0 queued as 42"


def check(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ci", b"canary-of-mail")
    # It says back what it was given, as some do.
    both = base64.b64encode(b"\0" + data.login + b"\0" + data.password).decode()
    return AuthResult(success=good, handled=False, auth_data=data if good else None,
                      message=None if good else f"535 5.7.8 no {mechanism} {both}")


def make():
    auth = {"auth_required": True, "authenticator": check, "hostname": "mail.test"}
    if mode == "smtp":
        return SMTP(Handler(), tls_context=context, require_starttls=True, **auth)
    # Encrypted from the first byte, or never.
    return SMTP(Handler(), auth_require_tls=False, **auth)


async def main():
    tls = context if mode == "smtps" else None
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    with open(address_file + ".new", "w") as file:
        file.write(str(port))
    os.rename(address_file + ".new", address_file)
    await asyncio.Event().wait()


threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
asyncio.run(main())
