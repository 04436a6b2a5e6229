"""Looks at the board of a node with a real browser: logs in, follows, orders, and asks axe-core for barriers.

Arguments: address of the node, a hostile text that stands in its signals, the browser, axe-core, a directory for screenshots.
The tokens are in GEMBA_VIEWER and GEMBA_OPERATOR, the node's process is GEMBA_PID. Ends with 0 when everything was as it should be.
"""

import json
import os
import signal
import sys
import urllib.parse
import urllib.request

from playwright.sync_api import expect, sync_playwright

NODE, HOSTILE, BROWSER, AXE, SHOTS = sys.argv[1:]
SIZES = {"phone": (320, 640), "laptop": (1280, 900), "desk": (1920, 1080), "wall": (3840, 2160)}
PATIENCE = 60_000
# Words of labels and buttons that stand on two lines.
BROKEN = """() => {
    const broken = [];
    for (const element of document.querySelectorAll("button, label, dt, th, h1, h2, h3, .mark, .station strong, [data-head] > span")) {
        const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            for (const word of walker.currentNode.data.matchAll(/[A-Za-z]{2,16}(?![^ ])/g)) {
                const range = document.createRange();
                range.setStart(walker.currentNode, word.index);
                range.setEnd(walker.currentNode, word.index + word[0].length);
                const tops = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
                if (tops.size > 1) broken.push(word[0]);
            }
        }
    }
    return broken;
}"""
expect.set_options(timeout=PATIENCE)


def fail(why):
    print(why)
    sys.exit(1)


class Look:
    """One page, and everything that went wrong in it."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"a script ran: {dialog.message}"), dialog.dismiss()))

    def log_in(self, token):
        self.page.goto(f"{NODE}/board")
        expect(self.page.locator("#login")).to_be_visible()
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("#board")).to_be_visible()
        expect(self.page.locator("#line .station").first).to_be_visible()

    def is_well(self, where):
        # Without a session the node says 401 to who asks for it: a browser tells so.
        wrong = [text for text in self.wrong if "401" not in text]
        if wrong:
            fail(f"{where}: {wrong}")
        self.page.evaluate(open(AXE, encoding="utf-8").read())
        found = self.page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})")
        for violation in found["violations"]:
            for node in violation["nodes"]:
                print(where, violation["id"], node["target"], node["failureSummary"])
        if found["violations"]:
            sys.exit(1)
        broken = self.page.evaluate(BROKEN)
        if broken:
            fail(f"{where}: words are broken: {broken}")
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            fail(f"{where}: the page is {wide} px wider than the screen")

    def shoot(self, name):
        self.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


def everywhere(browser):
    """Every size in both colours: the login, the board, a detail, and an order."""
    for name, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            where = f"{name}-{scheme}"
            look = Look(browser, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
            look.page.goto(f"{NODE}/board")
            expect(look.page.locator("#login")).to_be_visible()
            look.is_well(f"{where}: login")
            look.shoot(f"{where}-login")
            look.log_in(os.environ["GEMBA_OPERATOR"])
            expect(look.page.locator("#lamp")).not_to_have_text("Connecting")
            look.is_well(f"{where}: board")
            look.shoot(f"{where}-board")
            look.page.goto(f"{NODE}/board#/governors")
            expect(look.page.locator("#detail-body table")).to_be_visible()
            look.is_well(f"{where}: governors")
            look.page.locator("#detail-body tbody tr").first.locator("a").nth(1).click()
            expect(look.page.locator("#detail-title")).to_contain_text("/ vm")
            expect(look.page.get_by_role("button", name="Halt…")).to_be_visible()
            look.is_well(f"{where}: governor")
            look.shoot(f"{where}-governor")
            look.page.get_by_role("button", name="Halt…").click()
            expect(look.page.locator("#order")).to_be_visible()
            look.is_well(f"{where}: order")
            look.shoot(f"{where}-order")
            look.page.keyboard.press("Escape")
            expect(look.page.locator("#order")).to_be_hidden()
            look.context.close()


def hostile_text_is_text(browser):
    look = Look(browser, viewport={"width": 1280, "height": 900})
    look.log_in(os.environ["GEMBA_VIEWER"])
    look.page.goto(f"{NODE}/board#/deadletters")
    expect(look.page.locator("#detail-body")).to_contain_text(HOSTILE)
    look.page.locator("#detail-body tbody a").first.click()
    expect(look.page.locator("#detail-body pre")).to_contain_text(HOSTILE)
    expect(look.page.get_by_role("button", name="Discard…")).to_have_count(0)
    look.is_well("a dead letter")
    look.shoot("dead-letter")
    quoted = urllib.parse.quote(HOSTILE + "0", safe="")
    look.page.goto(f"{NODE}/board#/story/acme/{quoted}")
    expect(look.page.locator("#detail-body .steps li").first).to_be_visible()
    expect(look.page.locator("#detail-title")).to_contain_text(HOSTILE)
    look.is_well("a story")
    look.shoot("story")
    look.page.goto(f"{NODE}/board#/governors/{quoted}/{quoted}")
    expect(look.page.locator("#detail-body [role=alert]")).to_be_visible()
    # A refused request is told in the console, which is as it should be.
    markup = look.page.evaluate("document.querySelectorAll('img, script:not([src])').length")
    if markup or any("script ran" in text for text in look.wrong):
        fail(f"hostile text became markup: {markup}, {look.wrong}")
    look.context.close()


def orders_and_keys(browser):
    look = Look(browser, viewport={"width": 1280, "height": 900})
    watcher = Look(browser, viewport={"width": 1280, "height": 900})
    look.log_in(os.environ["GEMBA_OPERATOR"])
    watcher.log_in(os.environ["GEMBA_VIEWER"])
    expect(watcher.page.get_by_role("button", name="Silence…")).to_have_count(0)
    page = look.page
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("acme/vm")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_be_focused()
    # What was typed before is gone, so the next goes where it says.
    page.keyboard.press("/")
    page.keyboard.type("acme")
    page.locator("#search button").click()
    expect(page.locator("#detail-title")).to_have_text("Governors of acme")
    page.keyboard.press("/")
    page.keyboard.type("never sent")
    page.keyboard.press("Escape")
    expect(page.locator("#query")).to_have_value("")
    page.keyboard.press("/")
    page.keyboard.type("acme/vm")
    page.keyboard.press("Enter")
    expect(page.locator("#detail-title")).to_contain_text("/ vm")
    halted = watcher.page.locator("#governors dt", has_text="halted").locator("+ dd")
    expect(halted).to_have_text("0")
    page.get_by_role("button", name="Halt…").click()
    expect(page.locator("#order-concerns")).to_contain_text("signals that wait")
    page.locator("#order-send").click()
    expect(page.locator("#order")).to_be_visible()
    page.fill("#order-reason", "  ")
    page.locator("#order-send").click()
    expect(page.locator("#order-error")).to_contain_text("Say why")
    page.fill("#order-reason", f"because {HOSTILE}")
    page.locator("#order-send").click()
    expect(page.locator("#order")).to_be_hidden()
    expect(page.locator("#detail-body dl")).to_contain_text("halted")
    expect(halted).to_have_text("1")
    watcher.is_well("the board after an order")
    # The receipt is in the log a moment later.
    for _ in range(100):
        page.reload()
        expect(page.locator("#detail-body h3")).to_be_visible()
        if page.locator("#detail-body").inner_text().find(f"because {HOSTILE}") >= 0:
            break
        page.wait_for_timeout(100)
    else:
        fail("the board does not say who halted the governor, and why")
    look.is_well("a halted governor")
    look.shoot("halted")
    page.keyboard.press("Escape")
    expect(page.locator("#board")).to_be_visible()
    page.locator("#theme").click()
    page.locator("#theme").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    # The first thing that Tab reaches leads past the head.
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    # Its session ends elsewhere: the page says that it is stale, or asks for the token.
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#login")).to_be_visible()
    if any(cookie["name"].startswith("gemba_board") for cookie in look.context.cookies()):
        fail("the cookie outlives the session")
    # A node that hangs says nothing, and its connections stay.
    os.kill(int(os.environ["GEMBA_PID"]), signal.SIGSTOP)
    expect(watcher.page.locator("#stale")).to_contain_text("nothing came")
    watcher.shoot("stale")
    os.kill(int(os.environ["GEMBA_PID"]), signal.SIGCONT)
    expect(watcher.page.locator("#stale")).to_be_hidden()
    look.context.close()
    watcher.context.close()


def cords_stop_the_line(browser):
    """A target, a tenant, and the line, for which a second person is needed."""
    look = Look(browser, viewport={"width": 1280, "height": 900})
    watcher = Look(browser, viewport={"width": 1280, "height": 900})
    look.log_in(os.environ["GEMBA_OPERATOR"])
    watcher.log_in(os.environ["GEMBA_VIEWER"])
    for name in ("Halt target page", "Halt the line…"):
        expect(watcher.page.get_by_role("button", name=name)).to_have_count(0)
    page = look.page

    def order(reason):
        page.fill("#order-reason", reason)
        page.locator("#order-send").click()

    page.get_by_role("button", name="Halt target page").click()
    expect(page.locator("#order-concerns")).to_contain_text("p/act")
    order(f"it pages {HOSTILE}")
    expect(page.locator("#order")).to_be_hidden()
    expect(watcher.page.locator("#halts")).to_contain_text(f"by operator: it pages {HOSTILE}")
    expect(watcher.page.locator("#targets tbody tr")).to_contain_text("halted")
    expect(watcher.page.locator("#line")).to_contain_text("1 target halted")
    look.is_well("a halted target")
    look.shoot("halted-target")
    page.locator("#halts").get_by_role("button", name="Resume target page").click()
    order("over")
    expect(watcher.page.locator("#halts")).to_be_hidden()
    page.goto(f"{NODE}/board#/governors/bolt")
    page.get_by_role("button", name="Halt tenant bolt").click()
    expect(page.locator("#order-concerns")).to_contain_text("governors")
    order("a drill")
    expect(page.locator("#detail-body [role=alert]")).to_contain_text("Halted by operator: a drill")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Halt the line…").click()
    order("everything is wrong")
    expect(page.locator("#order-error")).to_contain_text("until somebody else approves it")
    page.keyboard.press("Escape")
    other = Look(browser, viewport={"width": 1280, "height": 900})
    other.log_in(os.environ["GEMBA_ADMIN"])
    other.page.get_by_role("link", name="Orders that wait").click()
    for shown in ("everything is wrong", "POST /v1/line/halt", " min", "waits"):
        expect(other.page.locator("#detail-body")).to_contain_text(shown)
    other.is_well("orders that wait")
    other.shoot("requests")
    other.page.get_by_role("button", name="approve q-").click()
    for shown in ("everything is wrong", "POST /v1/line/halt", " min", "waits"):
        expect(other.page.locator("#order-concerns")).to_contain_text(shown)
    other.page.fill("#order-reason", "I see it")
    other.page.locator("#order-send").click()
    expect(watcher.page.locator("#lamp")).to_have_text("Halted")
    expect(watcher.page.locator("#halts")).to_contain_text("by operator and admin: ordered: \"everything is wrong\"; approved: \"I see it\"")
    expect(watcher.page.locator("#line .station", has_text="shards")).to_contain_text("halted by operator and admin")
    watcher.is_well("a halted line")
    watcher.shoot("halted-line")
    page.locator("#halts").get_by_role("button", name="Resume the line").click()
    order("over")
    expect(watcher.page.locator("#lamp")).not_to_have_text("Halted")
    for one in (look, watcher, other):
        one.context.close()


def alerts_are_shown(browser):
    """Alerts as the stream tells them, of every kind and with hostile text; then the stream breaks."""
    alert = {
        "id": "a-1", "kind": "breaker_open", "name": HOSTILE, "severity": "critical", "state": "open", "silenced": False, "tenant": "acme",
        "sku": "vm", "message": HOSTILE, "since_ms": 0, "members": 400, "end_known": False, "acknowledged_by": None, "route": "critical",
        "channels": [{"channel": "oncall", "state": "told"}], "receipt": "r-0000000000000002-00",
    }
    others = [
        {**alert, "id": "a-2", "severity": "warning", "silenced": True, "end_known": True, "members": 1, "tenant": None, "sku": None},
        {**alert, "id": "a-3", "severity": "info", "acknowledged_by": "eve", "sku": None},
    ]
    silence = {"id": 7, "when": f"alert.name == '{HOSTILE}'", "since_ms": 0, "until_ms": 4e12, "by": "eve", "reason": HOSTILE, "alerts": 1}
    for name, scheme in ((name, scheme) for name in ("phone", "laptop", "desk") for scheme in ("light", "dark")):
        (width, height), where = SIZES[name], f"{name}-{scheme}"
        look = Look(browser, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce")
        request = urllib.request.Request(f"{NODE}/board", headers={"authorization": f"Bearer {os.environ['GEMBA_VIEWER']}", "accept": "application/json"})
        with urllib.request.urlopen(request) as answer:
            board = json.load(answer)
        board["alerts"] = [alert, *others]
        board["silences"] = [silence]
        board["stages"]["journal"] = {"ok": False, "reason": f"the disk is full {HOSTILE}"}
        told = f"id: 1-1\nevent: snapshot\ndata: {json.dumps(board)}\n\n"
        look.page.route("**/board/events", lambda route: route.fulfill(content_type="text/event-stream", body=told))
        look.log_in(os.environ["GEMBA_OPERATOR"])
        expect(look.page.locator("#alerts .alert")).to_have_count(3)
        expect(look.page.locator("#alerts")).to_contain_text(HOSTILE)
        expect(look.page.get_by_role("button", name="Acknowledge…")).to_have_count(2)
        expect(look.page.locator("#line")).to_contain_text(f"stopped: the disk is full {HOSTILE}")
        expect(look.page.locator("#alerts")).to_contain_text("acknowledged by eve")
        expect(look.page.locator("#silences")).to_contain_text(f"by eve: {HOSTILE}")
        expect(look.page.locator("#stale")).to_contain_text("the stream has ended")
        look.is_well(f"alerts, {where}")
        look.shoot(f"alerts-{where}")
        with look.page.expect_request("**/v1/alerts/a-1/acknowledge") as asked:
            look.page.get_by_role("button", name="Acknowledge…").first.click()
            expect(look.page.locator("#order-concerns")).to_contain_text("400")
            look.page.fill("#order-reason", "I look")
            look.page.locator("#order-send").click()
        if asked.value.post_data_json != {"reason": "I look"}:
            fail(f"an acknowledgement says {asked.value.post_data}")
        look.page.keyboard.press("Escape")
        with look.page.expect_request("**/v1/silences") as asked:
            look.page.get_by_role("button", name="Silence…").click()
            look.page.fill("#order-when", "alert.tenant == 'acme'")
            look.page.fill("#order-minutes", "30")
            look.page.fill("#order-reason", "a deployment")
            look.page.locator("#order-send").click()
        if asked.value.post_data_json != {"when": "alert.tenant == 'acme'", "minutes": 30, "reason": "a deployment"}:
            fail(f"a silence says {asked.value.post_data}")
        look.context.close()


def other_pages_order_nothing(browser):
    """A page of a different origin, in the browser of somebody who is logged in."""
    look = Look(browser, viewport={"width": 1280, "height": 900})
    look.log_in(os.environ["GEMBA_OPERATOR"])
    other = NODE.replace("127.0.0.1", "localhost")
    look.context.route(f"{other}/evil", lambda route: route.fulfill(content_type="text/html", body="<!doctype html><title>other</title>"))
    evil = look.context.new_page()
    evil.goto(f"{other}/evil")
    script = """async ([node, headers, mode]) => {
        const body = JSON.stringify({reason: "forged"});
        try {
            const answer = await fetch(node + "/v1/governors/core/vm/halt", {method: "POST", credentials: "include", mode, headers, body});
            return answer.type === "opaque" ? "opaque" : String(answer.status);
        } catch (error) { return "refused"; }
    }"""
    tries = [({}, "no-cors"), ({"x-gemba-board": "1"}, "cors"), ({"content-type": "text/plain"}, "cors")]
    said = [evil.evaluate(script, [NODE, headers, mode]) for headers, mode in tries]
    if "200" in said:
        fail(f"a page of a different origin ordered: {said}")
    evil.set_content(f"<form method=post action='{NODE}/v1/governors/core/vm/halt'><input name=reason value=forged><button>x</button></form>")
    evil.locator("button").click()
    evil.wait_for_load_state()
    request = urllib.request.Request(f"{NODE}/v1/audit", headers={"authorization": f"Bearer {os.environ['GEMBA_VIEWER']}"})
    with urllib.request.urlopen(request) as answer:
        if "forged" in json.dumps(json.load(answer)):
            fail("a forged order was carried out")
    look.context.close()


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"])
    for part in (everywhere, hostile_text_is_text, orders_and_keys, cords_stop_the_line, alerts_are_shown, other_pages_order_nothing):
        part(browser)
        print(part.__name__, "passed", file=sys.stderr)
    browser.close()
