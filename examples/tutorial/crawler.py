"""Looks for broken links: ``python crawler.py http://127.0.0.1:8000/``."""

import hubbub_monkey

hubbub_monkey.patch_all()  # before the imports that are to be cooperative

import html.parser
import sys
import urllib.error
import urllib.parse
import urllib.request

import hubbub


class Links(html.parser.HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        """Called by the parser."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


class Crawler:
    """Fetches every page of one site once, a few at a time."""

    def __init__(self, start, at_once=10, seconds=5):
        self.start = start
        self.seconds = seconds
        self.limit = hubbub.Semaphore(at_once)
        self.seen = {start}
        self.broken = {}
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def run(self):
        """Fetch all; returns when the last page has been fetched."""
        with hubbub.TaskGroup() as self.group:
            self.group.spawn(self.visit, self.start)

    def visit(self, url):
        """Fetch one page, and begin with those that it names."""
        try:
            with self.limit, hubbub.fail_after(self.seconds), self.opener.open(url) as response:
                text = response.read().decode(errors="replace")
        except (OSError, TimeoutError) as error:
            self.broken[url] = str(error)
            return
        links = Links()
        links.feed(text)
        for link in links.found:
            target = urllib.parse.urljoin(url, link).partition("#")[0]
            if target.startswith(self.start) and target not in self.seen:
                self.seen.add(target)
                self.group.spawn(self.visit, target)


if __name__ == "__main__":
    crawler = Crawler(sys.argv[1])
    crawler.run()
    print(f"{len(crawler.seen)} pages, {len(crawler.broken)} broken")
    for url, reason in sorted(crawler.broken.items()):
        print(f"{url}: {reason}")
    sys.exit(bool(crawler.broken))
