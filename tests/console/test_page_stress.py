"""The page with more dead letters than fit, and with a token that is not accepted."""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect
from snsqs import aws_clients

from local.ports import Ports
from local.system import LocalSystem, running_system
from shared.runtime.tokens import DEVELOPMENT_OPERATOR

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

TOKEN = DEVELOPMENT_OPERATOR.token.get_secret_value()
ORDER_ID = "20210717235959000000"
QUEUE = "scm-adapter-order-event-queue-dlq"
COUNT = 1_340
WIDTHS = (1280, 390)

# Pairs of texts on the screen that cover each other: each text as far as its ancestors do not clip it.
OVERLAPS = """() => {
  const clipped = (rect, element) => {
    let { left, right, top, bottom } = rect;
    for (let each = element; each; each = each.parentElement) {
      if (getComputedStyle(each).overflow === "visible") continue;
      const box = each.getBoundingClientRect();
      [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
      [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
    }
    return { left, right, top, bottom };
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility({ checkVisibilityCSS: true })) continue;
    if (element.closest(".hidden, .skip, option, #travellers, noscript, script")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const rect of range.getClientRects()) {
      const box = clipped(rect, element);
      const isVisible = box.right - box.left > 1 && box.bottom - box.top > 1;
      if (isVisible) texts.push({ ...box, text: node.textContent.trim().slice(0, 40), node });
    }
  }
  const found = [];
  for (const [place, a] of texts.entries()) for (const b of texts.slice(place + 1)) {
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (a.node !== b.node && width > 2 && height > 4) found.push(`${a.text} | ${b.text}`);
  }
  return found;
}"""

# Placeholders that do not fit into their fields.
CLIPPED_PLACEHOLDERS = """() => {
  const canvas = document.createElement("canvas").getContext("2d");
  return [...document.querySelectorAll("input[placeholder]")].filter((each) => {
    if (!each.checkVisibility()) return false;
    const style = getComputedStyle(each);
    canvas.font = `${style.fontSize} ${style.fontFamily}`;  // `font` is empty for tabular figures
    const room = each.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return canvas.measureText(each.placeholder).width > room;
  }).map((each) => each.placeholder);
}"""


def _letter(number: int) -> "SendMessageBatchRequestEntryTypeDef":
    """An event without content, which no consumer can handle."""
    attributes = {
        "ce-id": str(uuid.uuid4()),
        "ce-type": "OrderCompleted",
        "ce-source": "order",
        "ce-subject": ORDER_ID,
        "dead-letter-reason": "OrderCompleted: source is missing, occurenceOn is missing, and so on",
    }
    return {
        "Id": str(number),
        "MessageBody": "{}",
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    }


@pytest.fixture(scope="module")
async def system(processes: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalSystem]:
    """With 1,340 dead letters."""
    async with running_system(tmp_path_factory.mktemp("system"), Ports.free()) as running:
        os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        async with aws_clients(region="us-east-1", endpoint_url=running.ports.url("aws")) as clients:
            url = (await clients.sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
            for start in range(0, COUNT, 10):
                entries = [_letter(number) for number in range(start, start + 10)]
                await clients.sqs.send_message_batch(QueueUrl=url, Entries=entries)
        yield running


@pytest.fixture
async def page(context: BrowserContext, system: LocalSystem) -> Page:
    opened = await context.new_page()
    await opened.goto(system.ports.url("console"))
    await expect(opened.locator("#stream")).to_have_text("live")
    await expect(opened.get_by_role("tab", name="Dead letters 99+")).to_be_visible()
    return opened


async def give(page: Page, token: str) -> None:
    await page.get_by_label("Token", exact=True).fill(token)
    await page.get_by_role("button", name="Use token").click()


async def with_token(page: Page) -> None:
    await page.get_by_role("button", name=re.compile("Operator")).click()
    await give(page, TOKEN)
    await expect(page.locator("#operator")).to_have_text("token set")


@pytest.mark.parametrize("width", WIDTHS)
async def test_nothing_overlaps(page: Page, width: int, tmp_path: Path) -> None:
    """Neither before nor after the letters are read, nor when all are selected."""
    await page.set_viewport_size({"width": width, "height": 900})
    assert await page.evaluate(OVERLAPS) == []
    await with_token(page)
    await expect(page.locator("#letters tbody tr")).to_have_count(200, timeout=60_000)
    await page.locator("#letters").get_by_label("All that match").check()
    folder = Path(os.environ.get("STRESS_SCREENSHOTS", tmp_path))
    await page.screenshot(path=folder / f"stress-{width}.png", full_page=True)
    assert await page.evaluate(OVERLAPS) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
async def test_no_placeholder_is_clipped(page: Page, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    for tab in await page.get_by_role("tab").all():
        await tab.click()
        assert await page.evaluate(CLIPPED_PLACEHOLDERS) == []


async def test_only_an_accepted_token_is_set(page: Page) -> None:
    """Another one is not kept, and the dialog says so; also one that was accepted when it was given."""
    await page.get_by_role("button", name=re.compile("Operator")).click()
    await give(page, "a-token-of-nobody-at-all")
    await expect(page.get_by_role("alert")).to_have_text("The console does not accept this token.")
    await expect(page.locator("#operator")).to_have_text("none")
    assert await page.evaluate("sessionStorage.length") == 0
    await give(page, TOKEN)
    await expect(page.get_by_role("dialog", name="Operator token")).to_be_hidden()
    await expect(page.locator("#operator")).to_have_text("token set")

    await page.evaluate("sessionStorage.setItem('operator-token', 'a-token-that-was-replaced')")
    await page.reload()
    await expect(page.locator("#stream")).to_have_text("live")
    await expect(page.locator("#operator")).to_have_text("none")


async def test_a_lineage_does_not_wait_for_dead_letters(page: Page, system: LocalSystem) -> None:
    """It is drawn while they are looked for."""
    await with_token(page)
    looked_for = asyncio.Event()

    async def delay(route: Route) -> None:
        await looked_for.wait()
        await route.continue_()

    await page.route("**/lineage?deadLetters=true", delay)
    await page.get_by_role("button", name="Place an order").click()
    await page.locator("#decision-rows tr").filter(has_text="OrderCompleted").get_by_role("button").click()
    lineage = page.get_by_role("dialog", name=re.compile("Order"))
    await expect(lineage.get_by_role("row").filter(has_text="OrderCompleted").first).to_be_visible()
    await expect(lineage.get_by_role("status")).to_have_text("looking for dead letters …")
    looked_for.set()
    await expect(lineage.get_by_role("status")).to_have_text("", timeout=60_000)


async def test_failures_lead_to_their_details(page: Page) -> None:
    """Message by message, with the reason: here, of messages that die again."""
    await with_token(page)
    await expect(page.locator("#letters tbody tr")).to_have_count(200, timeout=60_000)
    for row in (await page.locator("#letters tbody tr").all())[:2]:
        await row.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Redrive …").click()
    await page.get_by_role("button", name="Redrive 2").click(timeout=120_000)
    await page.get_by_role("button", name="Show 2 failures").click(timeout=120_000)
    failures = page.get_by_role("dialog", name="2 failures")
    await expect(failures.locator("tbody tr")).to_have_count(2)
    await expect(failures.locator("tbody tr").first).not_to_have_text("")
