from __future__ import annotations

import pytest

from artifacts.product_text import product_text, text_digest


class TestProductText:
    def test_a_title_alone_is_the_text(self) -> None:
        assert product_text("Toy Story") == "Toy Story"

    def test_everything_that_reads_as_words_is_in_it(self) -> None:
        text = product_text(
            "Toy Story",
            description="Toys come alive.",
            category="Animation",
            brand="Pixar",
            attributes={"year": 1995, "genres": ["Animation", "Comedy"], "sound": True, "score": 8.5, "none": None},
        )
        expected = "Toy Story. Pixar. Animation. genres: Animation, Comedy. score: 8.5. year: 1995. Toys come alive."
        assert text == expected

    @pytest.mark.parametrize(
        ("title", "brand", "text"),
        [
            ("HP LaserJet", "hp", "HP LaserJet"),
            ("Camera (Yahoo!)", "Yahoo!", "Camera (Yahoo!)"),
            ("Chip set", "HP", "Chip set. HP"),
            ("LaserJet", " ", "LaserJet"),
        ],
    )
    def test_a_brand_that_the_title_names_is_said_once(self, title: str, brand: str, text: str) -> None:
        assert product_text(title, brand=brand) == text

    def test_the_order_of_attributes_does_not_matter(self) -> None:
        one, other = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
        assert product_text("t", attributes=one) == product_text("t", attributes=other)

    def test_white_space_is_collapsed(self) -> None:
        assert product_text("  a \n b\t", description="  ") == "a b"


class TestTextDigest:
    def test_it_is_the_first_half_of_the_sha_256_of_the_text_in_utf_8(self) -> None:
        assert text_digest("Amélie").hex() == "ffd648213f415fa5d10ce2eb4ee48868"

    def test_another_text_has_another(self) -> None:
        assert text_digest("a") != text_digest("b")
