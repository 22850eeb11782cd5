from artv_cli.storybook.characters import *
def caption(character, motion, scene, rng, after=None):
    return f"{character} {motion} {scene}"
