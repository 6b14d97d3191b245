"""Film: storyboard, frames, MP4 in three shapes, captions burned in and beside it; checks."""

from arauto.creative.video.checks import check_video
from arauto.creative.video.render import render_video

__all__ = ["check_video", "render_video"]
