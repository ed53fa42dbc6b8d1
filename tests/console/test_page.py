"""The page in a real browser, the real system in processes of its own."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, ViewportSize, expect

from local.ports import Ports
from local.system import LocalSystem, running_system
from services.console.main import create_app
from services.console.settings import Settings
from shared.runtime.tokens import DEVELOPMENT_OPERATOR
from tests.serving import OPERATOR, PRODUCTION_TOKENS, serving

expect.set_options(timeout=15_000)

TOKEN = DEVELOPMENT_OPERATOR.token.get_secret_value()
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=390, height=844)

# The least contrast of a text that is on the screen, with the text; WCAG 2.2, 1.4.3.
LEAST_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgba(getComputedStyle(each).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  let least = [21, ""];
  for (const each of document.querySelectorAll("body *")) {
    const own = [...each.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim());
    const hidden = !each.checkVisibility({ checkVisibilityCSS: true });
    if (!own.join("") || hidden || each.closest("option, :disabled, .hidden")) continue;
    const [a, b] = [light(rgba(getComputedStyle(each).color)), light(ground(each))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least[0]) least = [contrast, own.join(' ')];
  }
  return least;
}"""

# What moved, other than the rows of the list; reckoned as browsers do, but for each element by itself,
# because in the frame in which a row comes a number may get another digit.
WATCH_LAYOUT = """
  window.jumps = 0;
  const area = ({ width, height }) => (width * height) / (innerWidth * innerHeight);
  const moved = ({ previousRect: a, currentRect: b }) => Math.max(area(a), area(b))
    * Math.max(Math.abs(a.x - b.x), Math.abs(a.y - b.y)) / Math.max(innerWidth, innerHeight);
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries().filter((each) => !each.hadRecentInput)) {
      for (const source of shift.sources) {
        if (!source.node?.parentElement?.closest("#decision-rows")) window.jumps += moved(source);
      }
    }
  }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
async def system(processes: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalSystem]:
    async with running_system(tmp_path_factory.mktemp("system"), Ports.free()) as running:
        yield running


@pytest.fixture
async def page(context: BrowserContext, system: LocalSystem) -> Page:
    """The page, open and live."""
    opened = await context.new_page()
    await opened.add_init_script(WATCH_LAYOUT)
    await opened.goto(system.ports.url("console"))
    await expect(opened.locator("#stream")).to_have_text("live")
    await expect(opened.locator(".station").first).to_be_visible()  # decisions are streamed from now on
    return opened


async def show_token(page: Page) -> None:
    await page.get_by_label("Token", exact=True).fill(TOKEN)
    await page.get_by_role("button", name="Use token").click()


async def picture(page: Page, name: str, folder: Path) -> None:
    """Kept where SCREENSHOTS says: `make screenshots` renews those of the documentation."""
    await page.screenshot(path=Path(os.environ.get("SCREENSHOTS", folder)) / f"{name}.png")


def station(page: Page, name: str) -> Locator:
    return page.locator(".station").filter(has_text=name)


async def test_an_order_is_seen_on_its_way(page: Page, tmp_path: Path) -> None:
    """Placed with a button, by an operator who is asked for the token once: its decisions come with
    their rules, what is held back is seen at the adapter, and a click shows its whole way. Replayed, it
    changes nothing, which the checksums show."""
    await expect(page.get_by_text("Nothing has happened since this page was opened.")).to_be_visible()
    await page.get_by_role("button", name="Place an order").click()
    await show_token(page)
    await expect(page.get_by_text("is placed and paid")).to_be_visible()
    rows = page.locator("#decision-rows tr")
    await expect(rows.filter(has_text="OrderPlaced")).to_contain_text("held back")
    await expect(rows.filter(has_text="OrderCompleted")).to_contain_text("forwarded")
    await expect(rows.filter(has_text="DeliveryInvoiceIssued")).to_contain_text("forwarded")
    await expect(page.locator("#held")).to_contain_text("placed-is-not-paid")
    await rows.filter(has_text="OrderCompleted").get_by_role("button").click()
    way = page.get_by_role("dialog", name=re.compile(r"Order \d{20}"))
    await expect(way).to_contain_text("PREPARING")
    await expect(way.get_by_role("row").filter(has_text="handled").first).to_be_visible()
    await picture(page, "lineage", tmp_path)
    order_id = (await way.get_by_role("heading").inner_text()).removeprefix("Order ")
    await page.keyboard.press("Escape")
    await expect(way).to_be_hidden()

    await page.get_by_role("tab", name="Replay").click()
    panel = page.get_by_role("tabpanel", name="Replay")
    await panel.get_by_label("Order", exact=True).fill(order_id)
    await panel.get_by_role("button", name="Replay").click()
    await expect(panel).to_contain_text("Dry run: 1 event would be sent again.")
    await panel.get_by_role("button", name="Replay 1").click()
    await expect(panel).to_contain_text("Unchanged: the same checksum before and after.")
    before, after = await panel.locator("dd.mono").all_inner_texts()
    assert before == after
    await expect(panel).to_contain_text("1 event sent again, and nothing changed.")


async def test_dead_letters_are_read_and_put_right(page: Page, tmp_path: Path) -> None:
    """Bad messages show as dead letters with reason and body. One is discarded; of the others, which are
    found by their reason, a dry run shows the number, and they are moved at a limited rate. The
    audit names the operator."""
    bad = page.get_by_role("button", name="A bad message")
    await bad.click()
    await show_token(page)
    for _ in range(2):
        await expect(bad).to_have_attribute("aria-busy", "false")
        await bad.click()
    letters = page.locator("#letters tbody tr")
    await expect(letters).to_have_count(3)
    await expect(page.get_by_role("tab", name="Dead letters 3")).to_be_visible()
    await expect(station(page, "scm-adapter-order-event-queue")).to_contain_text("3 dead")

    await letters.first.get_by_role("button").click()
    letter = page.get_by_role("dialog", name="Dead letter")
    await expect(letter.locator("textarea")).to_have_value(re.compile("not an order"))
    await picture(page, "dead-letter", tmp_path)
    await letter.get_by_role("button", name="Discard").click()
    await expect(letters).to_have_count(2)

    panel = page.get_by_role("tabpanel", name="Dead letters")
    await panel.get_by_label("Reason contains").fill("no such reason")
    await page.keyboard.press("Enter")
    await expect(panel).to_contain_text("No dead letter matches.")
    await panel.get_by_label("Reason contains").fill("invalid json")
    await page.keyboard.press("Enter")
    await expect(letters).to_have_count(2)
    await letters.first.get_by_role("checkbox").check()
    await panel.get_by_label("Maximum rate per second").fill("2")
    await panel.get_by_role("button", name="Redrive").click()
    await expect(panel).to_contain_text("Dry run: 1 dead letter would be redriven.")
    await panel.get_by_role("button", name="Cancel").click()
    await panel.get_by_label("All that match").check()
    await panel.get_by_role("button", name="Discard").click()
    await expect(panel).to_contain_text("Dry run: 2 dead letters would be discarded.")
    await panel.get_by_role("button", name="Discard 2").click()
    await expect(panel).to_contain_text("2 dead letters discarded.")
    await expect(letters).to_have_count(0)

    await page.get_by_role("tab", name="Audit").click()
    done = page.get_by_role("tabpanel", name="Audit").get_by_role("row")
    for what in ("discard.*invalid json · 2 done", "redrive.*dry run of 1"):
        await expect(done.filter(has_text=re.compile(f"developer *{what}"))).to_have_count(1)


async def test_parked_events_are_resubmitted(page: Page, system: LocalSystem) -> None:
    """An event that is parked is counted at its station, which leads to it and its error; resubmitted, it
    leaves."""
    await page.get_by_role("button", name="Place an order").click()
    await show_token(page)
    await expect(page.locator("#decision-rows tr").filter(has_text="OrderPlaced")).to_be_visible()
    await park(system, "OrderPlaced", "SNS rejected it")
    await expect(station(page, "Outbox of Order")).to_contain_text("1 parked")
    await station(page, "Outbox of Order").click()
    await page.get_by_role("button", name="Show parked events").click()
    await expect(page.get_by_role("tab", name="Parked 1")).to_be_focused()
    panel = page.get_by_role("tabpanel", name="Parked")
    await expect(panel.get_by_role("row").filter(has_text="OrderPlaced")).to_contain_text("SNS rejected it")
    await panel.locator("tbody").get_by_role("checkbox").check()
    await panel.get_by_role("button", name="Resubmit").click()
    await expect(panel).to_contain_text("Dry run: 1 parked event would be resubmitted.")
    await panel.get_by_role("button", name="Resubmit 1").click()
    await expect(panel).to_contain_text("1 parked event resubmitted.")
    await expect(panel).to_contain_text("No parked event matches.")
    await expect(station(page, "Outbox of Order")).not_to_contain_text("parked")


async def park(system: LocalSystem, event_type: str, error: str) -> None:
    """The newest event of the type is parked, as if the adapter had failed on it for eight minutes."""
    connection = await asyncpg.connect(system.database_url("order"))
    await connection.execute(
        "UPDATE event_log SET decision = NULL, decided_at = NULL, attempts = 20, last_error = $2, "
        "parked_at = now() WHERE position = (SELECT max(position) FROM event_log WHERE type = $1)",
        event_type,
        error,
    )
    await connection.close()


async def test_a_listener_is_paused_and_resumed(page: Page) -> None:
    """With the keyboard alone; the picture and the list say that it is paused, and who did it."""
    await page.get_by_role("tab", name="Dead letters").focus()
    for _ in range(2):
        await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Listeners")).to_be_focused()
    demand = page.locator("#listeners li").filter(has_text="scm-demand-order-event-queue")
    await demand.get_by_role("button", name="Pause").focus()
    await page.keyboard.press("Enter")
    await show_token(page)
    await expect(demand).to_contain_text("paused by developer since")
    await expect(station(page, "scm-demand-order-event-queue")).to_contain_text("paused")
    await expect(page.get_by_role("tab", name="Listeners 1")).to_be_visible()
    await demand.get_by_role("button", name="Resume").click()
    await expect(demand).to_contain_text("listening")
    await expect(station(page, "scm-demand-order-event-queue")).not_to_contain_text("paused")


@pytest.mark.parametrize(
    ("title", "measured"),
    [
        ("Pause SCM", "0 lost, 0 doubled, 0 duplicates absorbed, 0 in dead letters"),
        ("Make the adapter refuse", "0 lost, 0 doubled, 0 duplicates absorbed, 0 in dead letters"),
        ("Send every message twice", "0 lost, 0 doubled"),
        ("Poison a message", "0 lost, 0 doubled, 0 duplicates absorbed, 1 in dead letters"),
    ],
)
async def test_a_fault_does_what_was_predicted(page: Page, title: str, measured: str) -> None:
    """The prediction stands beside the button before, the measured verdict after."""
    fault = page.locator("#experiments li").filter(has_text=title)
    await expect(fault).to_contain_text("Prediction:")
    await fault.get_by_role("button").click()
    await show_token(page)
    await expect(fault.locator(".verdict")).to_contain_text(f"Measured: {measured}", timeout=60_000)
    await expect(fault.locator(".verdict")).to_have_class(re.compile("good"))


async def test_a_burst_moves_nothing_but_events(page: Page, tmp_path: Path) -> None:
    """Fifty orders travel, and no part of the page jumps from its opening on; only the list grows."""
    await page.get_by_role("button", name="A burst of 50").click()
    await show_token(page)
    await expect(page.locator(".dot").first).to_be_attached()
    await expect(page.get_by_text("50 orders are placed and paid")).to_be_visible(timeout=30_000)
    await picture(page, "page", tmp_path)
    await page.emulate_media(color_scheme="dark")
    await picture(page, "page-dark", tmp_path)
    assert await page.evaluate("window.jumps") < 0.002


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(page: Page, scheme: str, tmp_path: Path) -> None:
    """WCAG AA: 4.5 to 1, with decisions, a way, each tab and a token dialog on the screen."""
    await page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
    await page.get_by_role("button", name="Place an order").click()
    least, text = await page.evaluate(LEAST_CONTRAST)
    assert least >= 4.5, text
    await show_token(page)
    for tab in await page.get_by_role("tab").all():
        await tab.click()
        least, text = await page.evaluate(LEAST_CONTRAST)
        assert least >= 4.5, text
    await page.locator("#decision-rows .link").first.click()
    await expect(page.get_by_role("dialog").get_by_role("row").nth(4)).to_be_visible()
    least, text = await page.evaluate(LEAST_CONTRAST)
    assert least >= 4.5, text


async def test_it_fits_a_narrow_screen(page: Page, tmp_path: Path) -> None:
    """Nothing has to be pushed sideways at 390 pixels."""
    await page.set_viewport_size(NARROW)
    await picture(page, "page-narrow", tmp_path)
    for tab in await page.get_by_role("tab").all():
        await tab.click()
        assert await tab.evaluate("each => each.getBoundingClientRect().right") <= NARROW["width"]
        assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


async def test_the_keyboard_is_enough(page: Page) -> None:
    """Tab reaches the buttons, Enter presses them, Escape leaves; focus can be seen and comes back."""
    button = page.get_by_role("button", name="Place an order")
    while not await button.evaluate("each => each === document.activeElement"):
        await page.keyboard.press("Tab")
    outline = await button.evaluate("each => getComputedStyle(each).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Token", exact=True)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#demo-said")).to_contain_text("it requires an operator's token")
    await expect(button).to_be_focused()


async def test_it_loads_from_the_console_only(context: BrowserContext, system: LocalSystem) -> None:
    """It works offline: whatever it loads comes from the console."""
    requests: list[str] = []
    opened = await context.new_page()
    opened.on("request", lambda request: requests.append(request.url))
    await opened.goto(system.ports.url("console"))
    await expect(opened.locator("#stream")).to_have_text("live")
    assert requests
    assert all(url.startswith(system.ports.url("console")) for url in requests)


async def test_it_says_which_service_is_down(page: Page, system: LocalSystem, tmp_path: Path) -> None:
    """SCM is stopped: the page says so, and goes on, demo orders included; started again, it is up again."""
    await system.programs["scm"].stop()
    scm = page.locator("#services li").filter(has_text="scm")
    await expect(scm).to_have_text("scm down")
    await picture(page, "scm-down", tmp_path)
    await page.get_by_role("button", name="Place an order").click()
    await show_token(page)
    await expect(page.get_by_text("is placed and paid")).to_be_visible()
    await system.start_service("scm")
    await expect(scm).to_have_text(re.compile(r"^\s*scm\s*$"))


async def test_production_has_no_buttons_that_break_things(
    chromium: Browser, aws_url: str, console_database: str
) -> None:
    """Neither on the page nor behind it."""
    settings = Settings.model_validate(
        {name.lower(): value for name, value in PRODUCTION_TOKENS.items()}
        | {"environment": "production", "aws_endpoint_url": aws_url, "database_url": console_database}
    )
    async with serving(create_app(settings)) as served:
        opened = await chromium.new_page()
        await opened.goto(served.url)
        await expect(opened.get_by_role("heading", name="Decisions")).to_be_visible()
        await expect(opened.get_by_role("button", name="Place an order")).to_be_hidden()
        for path in ("demo/orders", "demo/bad-message", "experiments/poison"):
            answer = await served.http.post(f"/api/{path}", json={}, headers=OPERATOR)
            assert answer.status_code in (404, 405), path
