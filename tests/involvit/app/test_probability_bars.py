from html.parser import HTMLParser

from involvit.app.probability_bars import probability_bars
from involvit.colors import CLASS_COLORS


class Table(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.words, self.styles, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.styles += [value for name, value in attributes if name == "style"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_each_class_has_its_name_its_figure_and_a_bar_of_that_length_in_its_colour():
    table = Table(probability_bars({"Happy": 0.75, "Sad": 0.25}, "Face 1"))
    assert table.words == ["Face 1", "Happy", "75%", "Sad", "25%"]
    assert table.styles == [
        f"width: 75.0%; background: {CLASS_COLORS['Happy']}",
        f"width: 25.0%; background: {CLASS_COLORS['Sad']}",
    ]
    assert table.open == []


def test_names_from_models_and_visitors_are_not_taken_for_html():
    table = Table(probability_bars({"<b>x": 1.0}, "a & <script>"))
    assert table.words == ["a & <script>", "<b>x", "100%"]


def test_the_most_probable_class_stands_out():
    text = probability_bars({"Angry": 0.2, "Fear": 0.5, "Sad": 0.3}, "")
    assert text.count("class=first") == 1
    assert text.index("class=first") < text.index("Fear") < text.index("Sad")
