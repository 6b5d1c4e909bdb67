//! The lists by which a site's edge makes signals: `/pw/vai/metadata`.

use serde_json::{Value, json};

/// The version of the lists. An edge takes any number.
const VERSION: u32 = 2;

/// The numbers of networks of data centers, from public registries.
const DATA_CENTERS: [u32; 24] = [
    // Amazon, Google, Microsoft.
    16_509, 14_618, 396_982, 36_492, 15_169, 8_075, 8_069, 8_068, //
    // Oracle, IBM, Alibaba, Tencent.
    31_898, 36_351, 45_102, 132_203, //
    // DigitalOcean, Hetzner, OVH, Akamai, Vultr, Scaleway, Contabo, Leaseweb, UpCloud.
    14_061, 24_940, 213_230, 16_276, 63_949, 20_473, 12_876, 51_167, 60_781, 28_753, 202_053,
    // Fly.io.
    40_509,
];

/// What stands in the user agents of programs, as sources of regular expressions without regard to
/// case.
const AUTOMATION: [&str; 24] = [
    r"\bcurl/",
    r"\bwget/",
    r"libcurl",
    r"HTTPie",
    r"python-requests",
    r"python-urllib",
    r"python-httpx",
    r"aiohttp",
    r"Scrapy",
    r"Go-http-client",
    r"okhttp",
    r"Apache-HttpClient",
    r"\bJava/",
    r"node-fetch",
    r"undici",
    r"axios/",
    r"\bgot/",
    r"superagent",
    r"Puppeteer",
    r"Playwright",
    r"Selenium",
    r"WebDriver",
    r"PhantomJS",
    r"Cypress",
];

/// What stands in the user agents of browsers without a screen.
const HEADLESS: [&str; 2] = [r"HeadlessChrome", r"\bHeadless\b"];

/// The names of crawlers, each a word of its own. Those of AI agents are told by
/// `/api/filter/agents/metadata`.
const CRAWLERS: [&str; 12] = [
    "Googlebot",
    "bingbot",
    "Baiduspider",
    "YandexBot",
    "DuckDuckBot",
    "Slurp",
    "ia_archiver",
    "AhrefsBot",
    "SemrushBot",
    "MJ12bot",
    "PetalBot",
    "SeznamBot",
];

/// Returns the lists as an edge reads them.
pub(super) fn lists() -> Value {
    json!({
        "version": VERSION,
        "dc_asns": DATA_CENTERS,
        "automation_patterns": AUTOMATION,
        "headless_patterns": HEADLESS,
        "bot_patterns": CRAWLERS,
    })
}
