"""The storybook: a small world of captioned characters, scenes and motions."""
