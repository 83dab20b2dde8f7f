"""Renders every template here with transformers and writes what comes out to expected.json.

    python make.py [FOLDER]      # FOLDER: templates to render, this folder if none is given

Needs transformers 5.23.0 and jinja2 3.1.6. The clock stands still at the `now` of conversations.json. Where
the template refuses a conversation, {"refused": message} is written; null where it fails in Python otherwise (such a
failure says nothing about what another engine should do).
"""

import datetime
import json
import pathlib
import sys

from jinja2.exceptions import TemplateError
from jinja2.exceptions import TemplateError
from transformers.utils import chat_template_utils

here = pathlib.Path(__file__).parent
folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here
spec = json.loads((here / "conversations.json").read_text(encoding="utf8"))
now = datetime.datetime.fromisoformat(spec["now"])


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return now


chat_template_utils.datetime = Frozen


def render(source, case):
    tools = case.get("tools")
    if tools is True:
        tools = spec["tools"]
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[case["messages"]],
            tools=tools,
            documents=case.get("documents"),
            chat_template=source,
            add_generation_prompt=case["add_generation_prompt"],
            **spec["special"],
            **case.get("extra", {}),
        )
        return rendered[0]
    except TemplateError as error:
        # raise_exception raises the base class; undefined variables and the sandbox have classes of their own.
        print(f"{case['name']}: {type(error).__name__} {str(error)[:90]}")
        return {"refused": str(error)} if type(error) is TemplateError else None
    except TemplateError as error:
        # raise_exception raises the base class; undefined variables and the sandbox have classes of their own.
        print(f"{case['name']}: {type(error).__name__} {str(error)[:90]}")
        return {"refused": str(error)} if type(error) is TemplateError else None
    except Exception as error:
        print(f"{case['name']}: {type(error).__name__} {str(error)[:90]}")
        return None


expected = {}
for path in sorted(folder.glob("*.jinja")):
    print(path.name)
    source = path.read_bytes().decode("utf8")
    expected[path.name] = [render(source, case) for case in spec["cases"]]
text = json.dumps(expected, ensure_ascii=False, indent=0)
(folder / "expected.json").write_text(text + "\n", encoding="utf8")
