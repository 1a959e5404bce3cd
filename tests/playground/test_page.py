from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from contracts.stages import Stage
from tests.playground.conftest import Watch
from tests.playground.film_shop import MARKUP, FilmShop
from tests.stack import Stack


def titles(page: Page, section: str) -> Locator:
    return page.locator(f"#{section} .hits .title")


def settle(page: Page) -> None:
    """Wait until nothing is being asked any more."""
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


def open_breakdown(hit: Locator) -> Locator:
    hit.get_by_text("Why?").click()
    table = hit.locator(".breakdown table")
    expect(table).to_be_visible()
    return table


def parts(hit: Locator) -> list[dict[str, Any]]:
    """Each part of a score bar: its feature, its contribution, and the share of the track that it covers."""
    found: list[dict[str, Any]] = hit.locator(".score-bar").evaluate(
        """bar => [...bar.querySelectorAll('.part')].map(part => ({
            feature: part.dataset.feature,
            contribution: Number(part.dataset.contribution),
            share: part.getBoundingClientRect().width / bar.getBoundingClientRect().width,
        }))"""
    )
    return found


class TestPage:
    def test_results_follow_what_is_typed(self, page: Page, shop_url: str) -> None:
        page.goto(shop_url)
        page.get_by_label("Search the catalogue").press_sequentially("alien")
        expect(titles(page, "results")).to_have_text(["Alien", "Aliens"])
        page.keyboard.type("s")
        expect(titles(page, "results")).to_have_text(["Aliens"])

    def test_an_answer_that_comes_late_is_ignored(self, page: Page, shop: FilmShop, shop_url: str) -> None:
        """Even where aborting has no effect."""
        page.add_init_script("AbortController.prototype.abort = () => {}")
        shop.held_query = "apollo"
        page.goto(shop_url)
        box = page.get_by_label("Search the catalogue")
        with page.expect_request(re.compile("q=apollo")):
            box.fill("apollo")
        box.fill("aliens")
        expect(titles(page, "results")).to_have_text(["Aliens"])
        with page.expect_response(re.compile("q=apollo")) as late:
            shop.held.set()
        late.value.finished()
        settle(page)
        expect(titles(page, "results")).to_have_text(["Aliens"])

    def test_markup_in_a_product_is_shown_as_text(self, page: Page, shop_url: str, watch: Watch) -> None:
        page.goto(f"{shop_url}?q=markup")
        title = titles(page, "results").first
        expect(title).to_have_text(f"Markup {MARKUP}")
        expect(page.locator("#results .facts")).to_contain_text("<i>Odd</i>")
        title.click()
        expect(page.locator("#product-title")).to_have_text(f"Markup {MARKUP}")
        settle(page)
        assert (
            page.locator(":is(main, dialog) :is(img, script, i:not([class], .value-bar i, .ms-bar i), u)").count() == 0
        )
        assert page.title() == "markup · Shortlist"
        assert watch.errors == []

    def test_markup_in_the_address_is_shown_as_text(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?user=%3Cu%3Eme%3C/u%3E")
        expect(page.locator("#recommendations-heading")).to_have_text("Recommended for user <u>me</u>")
        expect(page.locator(".current")).to_contain_text("User <u>me</u>")

    def test_parts_of_a_bar_are_as_wide_as_their_contributions(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=alien")
        drawn = parts(page.locator("#results .hit").first)
        assert [part["feature"] for part in drawn] == ["search", "popularity"]
        assert [part["share"] for part in drawn] == pytest.approx([part["contribution"] for part in drawn], abs=0.005)

    def test_an_absent_feature_is_said_to_be_unknown(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=alien")
        table = open_breakdown(page.locator("#results .hit").first)
        expect(table.locator("[data-feature=cf]")).to_contain_text("not known")

    def test_a_degraded_answer_says_what_stood_in(self, page: Page, shop: FilmShop, shop_url: str) -> None:
        shop.stages = [
            Stage("keyword", source="replica-1"),
            Stage("semantic", "fallback", fallback="keyword", cause="circuit_open"),
            Stage("profile", "skipped", cause="not_requested"),
        ]
        page.goto(f"{shop_url}?q=alien")
        banner = page.locator("#results .degraded")
        expect(banner).to_contain_text("semantic: circuit open after failures, keyword stood in")
        expect(banner).to_contain_text("X-Degraded: semantic=circuit_open")
        expect(banner).not_to_contain_text("profile")

    def test_a_problem_is_shown_as_text_and_can_be_mended(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=alien&price_min=9&price_max=3")
        expect(page.locator("#results .problem")).to_contain_text("price_min must not be above price_max")
        page.locator("#filters summary").click()
        page.get_by_label("Price from").fill("1")
        expect(titles(page, "results")).to_have_text(["Alien", "Aliens"])

    def test_no_answer_at_all_is_said_and_can_be_tried_again(self, page: Page, shop_url: str) -> None:
        page.route("**/v1/search?*", lambda route: route.abort(), times=1)
        page.goto(f"{shop_url}?q=alien")
        problem = page.locator("#results .problem")
        expect(problem).to_contain_text("The server does not answer")
        problem.get_by_text("Try again").click()
        expect(titles(page, "results")).to_have_text(["Alien", "Aliens"])

    def test_the_address_holds_the_state(self, page: Page, shop: FilmShop, shop_url: str) -> None:
        page.goto(shop_url)
        page.get_by_label("Search the catalogue").fill("apollo")
        page.get_by_label("Semantic").check(force=True)
        page.locator(".current").click()
        page.locator("[data-user='7']").click()
        expect(page).to_have_url(f"{shop_url}?q=apollo&user=7&mode=semantic")
        settle(page)
        shop.asked.clear()
        page.reload()
        expect(titles(page, "results")).to_have_text(["Apollo 13"])
        expect(page.get_by_label("Search the catalogue")).to_have_value("apollo")
        settle(page)
        asked = next(request for request in shop.asked if hasattr(request, "q"))
        assert asked.model_dump(include={"q", "user_id", "mode"}) == {"q": "apollo", "user_id": "7", "mode": "semantic"}

    def test_back_returns_to_the_user_before(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?user=3")
        page.locator(".current").click()
        page.locator("[data-user='7']").click()
        expect(page.locator("#recommendations-heading")).to_have_text("Recommended for user 7")
        page.go_back()
        expect(page.locator("#recommendations-heading")).to_have_text("Recommended for user 3")

    def test_any_user_id_can_be_typed_in(self, page: Page, shop_url: str) -> None:
        page.goto(shop_url)
        page.locator(".current").click()
        page.get_by_label("User id").fill("someone new")
        page.keyboard.press("Enter")
        expect(page.locator("#recommendations-heading")).to_have_text("Recommended for user someone new")

    def test_an_event_names_the_user_and_the_answer_that_showed_the_product(
        self, page: Page, shop: FilmShop, shop_url: str
    ) -> None:
        with page.expect_response(re.compile("v1/search")) as answered:
            page.goto(f"{shop_url}?q=aliens&user=7")
        titles(page, "results").first.click()
        page.get_by_role("button", name="Purchase").click()
        expect(page.locator(".said")).to_have_text("Accepted: purchase by user 7.")
        page.get_by_label("Rate").select_option("4")
        expect(page.locator(".said")).to_have_text("Accepted: rating by user 7.")
        sent = [(event.user_id, event.product_id, event.type, event.value) for event in shop.events.values()]
        assert sent == [("7", "2", "purchase", None), ("7", "2", "rating", 4.0)]
        assert {event.request_id for event in shop.events.values()} == {answered.value.json()["request_id"]}

    def test_nobody_can_send_events_for_nobody(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=aliens")
        titles(page, "results").first.click()
        expect(page.get_by_role("button", name="Purchase")).to_be_disabled()

    def test_the_keyboard_is_enough(self, page: Page, shop_url: str) -> None:
        page.goto(shop_url)
        settle(page)
        page.keyboard.press("/")
        page.keyboard.type("aliens")
        expect(titles(page, "results")).to_have_text(["Aliens"])
        titles(page, "results").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_be_hidden()
        expect(titles(page, "results").first).to_be_focused()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#results .breakdown")).to_be_visible()

    def test_results_are_announced(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=alien")
        expect(page.get_by_role("status").filter(has_text="2 products for alien.")).to_have_count(1)

    def test_every_field_has_a_label(self, page: Page, shop_url: str) -> None:
        page.goto(f"{shop_url}?q=alien")
        page.locator(".current").click()
        unlabelled = page.locator("input, select, textarea").evaluate_all(
            "fields => fields.filter(f => !f.labels?.length && !f.ariaLabel).map(f => f.outerHTML)"
        )
        assert unlabelled == []

    @pytest.mark.parametrize("width", [320, 820])
    def test_nothing_is_wider_than_the_window(self, page: Page, shop_url: str, width: int) -> None:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{shop_url}?q=alien&user=7")
        open_breakdown(page.locator("#results .hit").first)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.stack
class TestPageOfAStack:
    """The page over films, models and databases that are real."""

    def test_results_follow_what_is_typed_and_nothing_leaves_the_machine(
        self, stack: Stack, page: Page, watch: Watch
    ) -> None:
        page.goto(stack.url)
        expect(page.locator("#recommendations-heading")).to_have_text("Popular now")
        box = page.get_by_label("Search the catalogue")
        box.press_sequentially("star wars")
        expect(titles(page, "results").first).to_have_text("Star Wars")
        box.fill("godfather")
        expect(titles(page, "results").first).to_have_text(re.compile("Godfather"))
        settle(page)
        assert watch.hosts == {urlsplit(stack.url).netloc}
        assert watch.errors == []

    def test_users_get_recommendations_of_their_own(self, stack: Stack, page: Page, watch: Watch) -> None:
        page.goto(stack.url)
        settle(page)
        popular = titles(page, "recommendations").all_text_contents()
        page.locator(".current").click()
        offered = page.locator(".users [data-user]:not([data-user=''])")
        expect(offered).to_have_count(20)
        user = offered.first.get_attribute("data-user")
        offered.first.click()
        expect(page.locator("#recommendations-heading")).to_have_text(f"Recommended for user {user}")
        settle(page)
        own = titles(page, "recommendations").all_text_contents()
        assert len(own) == 10
        assert own != popular
        expect(page.locator("#recommendations .placing").filter(has_text="collaborative").first).to_be_visible()
        assert watch.errors == []

    def test_a_score_is_drawn_and_added_up(self, stack: Stack, page: Page) -> None:
        with page.expect_response(re.compile("v1/search")) as answered:
            page.goto(f"{stack.url.rstrip('/')}/?q=space+adventure&user=1")
        shown = page.locator("#results .hit")
        expect(shown).to_have_count(10)
        first = answered.value.json()["hits"][0]
        contributions = {name: part for name, part in first["explain"]["contributions"].items() if part > 0}
        assert math.fsum(contributions.values()) == pytest.approx(first["score"], abs=1e-9)
        drawn = {part["feature"]: part["share"] for part in parts(shown.first)}
        assert drawn == pytest.approx(contributions, abs=0.005)
        table = open_breakdown(shown.first)
        expect(table.locator("tfoot td")).to_have_text(f"{first['score']:.6f}")
        for retriever, placing in first["explain"]["retrievers"].items():
            expect(shown.first.locator(f"[data-retriever={retriever}]")).to_contain_text(f"rank {placing['rank']}")

    def test_stages_and_versions_are_those_of_the_answer(self, stack: Stack, page: Page) -> None:
        with page.expect_response(re.compile("v1/search")) as answered:
            page.goto(f"{stack.url.rstrip('/')}/?q=space+adventure&user=1")
        settle(page)
        body = answered.value.json()
        stages = page.locator("#trace [data-stage]")
        assert stages.evaluate_all("rows => rows.map(row => [row.dataset.stage, row.dataset.status])") == [
            [stage["name"], stage["status"]] for stage in body["stages"]
        ]
        for name, version in body["versions"].items():
            expect(page.locator(f"[data-version={name}]")).to_have_text(version or "none")

    def test_a_product_shows_products_like_it(self, stack: Stack, page: Page) -> None:
        page.goto(f"{stack.url.rstrip('/')}/?q=star+wars")
        titles(page, "results").first.click()
        expect(page.locator("#product-title")).to_have_text("Star Wars")
        like_it = page.locator("dialog .hits .title")
        expect(like_it).to_have_count(6)
        title = like_it.first.text_content()
        like_it.first.click()
        expect(page.locator("#product-title")).to_have_text(str(title))
