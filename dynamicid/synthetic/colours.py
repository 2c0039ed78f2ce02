"""Colours by name, RGB 0..255, and small sums with them."""

RGB = tuple[int, int, int]

SHIRTS: dict[str, RGB] = {
    "red": (214, 40, 40),
    "green": (42, 157, 66),
    "blue": (38, 84, 214),
    "yellow": (250, 206, 40),
    "orange": (245, 130, 32),
    "purple": (130, 56, 170),
    "pink": (250, 140, 190),
    "white": (245, 245, 245),
    "black": (34, 34, 40),
    "brown": (120, 74, 42),
}
OBJECTS: dict[str, RGB] = {name: SHIRTS[name] for name in ("red", "green", "blue", "yellow", "purple", "white")}
WALLS: dict[str, RGB] = {
    "yellow": (246, 222, 120),
    "green": (160, 208, 150),
    "blue": (150, 190, 236),
    "pink": (244, 190, 204),
    "white": (232, 232, 228),
    "grey": (150, 152, 158),
}
SKINS: tuple[RGB, ...] = (
    (255, 224, 196),
    (246, 200, 164),
    (232, 180, 132),
    (208, 148, 100),
    (176, 116, 74),
    (144, 92, 60),
    (118, 76, 54),
)
HAIRS: tuple[RGB, ...] = (
    (30, 26, 30),
    (92, 56, 34),
    (150, 96, 50),
    (232, 196, 100),
    (206, 92, 36),
    (178, 178, 184),
    (54, 92, 190),
    (226, 92, 150),
    (60, 150, 90),
)
EYES: tuple[RGB, ...] = ((96, 58, 30), (40, 110, 200), (40, 140, 70), (110, 120, 130), (170, 110, 20), (36, 30, 34))
LIPS: tuple[RGB, ...] = ((214, 84, 92), (190, 44, 60), (232, 112, 120), (160, 56, 84), (196, 92, 70))
GLASSES: tuple[RGB, ...] = ((24, 24, 28), (200, 30, 40), (30, 70, 200), (250, 200, 40), (245, 245, 245))

EYE_WHITE: RGB = (252, 252, 252)
PUPIL: RGB = (14, 12, 16)
MOUTH_INSIDE: RGB = (84, 18, 26)
TEETH: RGB = (255, 255, 255)


def mixed(first: RGB, second: RGB, share: float) -> RGB:
    """``first`` with a ``share`` (0..1) of ``second``."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def darker(colour: RGB, share: float) -> RGB:
    """``colour`` with a ``share`` (0..1) of black."""
    return mixed(colour, (0, 0, 0), share)


def lighter(colour: RGB, share: float) -> RGB:
    """``colour`` with a ``share`` (0..1) of white."""
    return mixed(colour, (255, 255, 255), share)


def brightness(colour: RGB) -> float:
    """How bright a colour looks, 0..255 (ITU-R BT.601 luma)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def apart_from(colour: RGB, ground: RGB, least: float = 48.0) -> RGB:
    """``colour``, made darker (or lighter, on a dark ground) until it stands out from ``ground`` by ``least`` luma."""
    change = darker if brightness(ground) > 90 else lighter
    for step in range(10):
        changed = change(colour, step / 10)
        if abs(brightness(changed) - brightness(ground)) >= least:
            return changed
    return change(colour, 1.0)
